"""The application of the pool tests with signals of its own."""

from __future__ import annotations

import signal

from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]

signal.signal(signal.SIGTTIN, lambda *_: pages.record("TTIN"))
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
pages._handlers["_start"] = lambda: kernel.signal(signal.SIGUSR1, "PAGES", "record")
