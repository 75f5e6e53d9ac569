"""A server without a pool whose handler takes too long."""

from __future__ import annotations

import asyncio

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel, request_timeout=0.2)


@server.handle("^/slow$")
async def slow():
    await asyncio.sleep(60)
