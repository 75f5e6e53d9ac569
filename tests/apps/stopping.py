"""A pool whose requests take a while."""

from __future__ import annotations

import asyncio
import signal

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer

if PARAMETERS.get("ignores_ends"):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

kernel = Kernel()
server = PreForkServer(kernel, start_servers=2, min_spare_servers=1, max_spare_servers=2)


@server.handle("^/")
async def slow():
    await asyncio.sleep(0.3)
    return "whole"
