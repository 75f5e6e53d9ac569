"""A handler that goes on after its response."""

from __future__ import annotations

import asyncio
import sys

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel, start_servers=1, min_spare_servers=1, max_spare_servers=2)


@server.handle("^/")
async def page(response):
    response.content = "hello"
    response.done()
    await asyncio.sleep(0.3)
    print("saved", file=sys.stderr, flush=True)
