"""The application of the pool tests, which prints when its server has ended."""

from __future__ import annotations

import os

from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]

server.configure(
    closed_handler=lambda port, address: print(f"closed in {os.getpid()}: {address}:{port}", flush=True)
)
