"""The application of the pool tests with a session that takes long to stop."""

from __future__ import annotations

import asyncio

from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]


async def slowly():
    await asyncio.sleep(0.3)
    print("stopped", flush=True)


kernel.session("SLOW", {"_stop": slowly})
