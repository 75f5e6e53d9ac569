"""The application of the pool tests with more handlers: functions that last, block, fail to end, or fork.

`hold` of a test waits for the file `release`; `block` and `last` wait for the file `go`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time

from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]


@server.handle("^/stream$")
async def stream():
    for _ in range(6):
        await asyncio.sleep(0.1)
        yield "piece"


@server.handle("^/native$")
def native():
    ctypes.PyDLL(None).sleep(60)  # in C, with the GIL


@server.handle("^/catch$")
async def catch():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pages.reported.append("cancelled")
        raise


@server.handle("^/reported$")
def reported():
    return repr(pages.reported)


@server.handle("^/watch$")
def watch(response):
    """A connection with a close handler cannot be handed on."""
    server.set_close_handler(response.connection, "PAGES", "record")
    return str(os.getpid())


@server.handle("^/hold_in_task$")
async def hold_in_task():
    """Blocks as `hold` does, in a coroutine."""
    await asyncio.sleep(0)
    while not os.path.exists("release"):
        time.sleep(0.002)
    return str(os.getpid())


async def _until_go():
    while not os.path.exists("go"):
        await asyncio.sleep(0.002)


@server.handle("^/block$")
async def block():
    """Blocks its worker for good, once the file `go` is there."""
    await _until_go()
    time.sleep(60)


@server.handle("^/last$")
async def last():
    """Responds half a second after the file `go` is there."""
    await _until_go()
    await asyncio.sleep(0.5)
    return "last"


@server.handle("^/fork$")
def fork():
    """The statuses of 300 children that ask the engine."""
    ends = set()
    for _ in range(300):
        pid = os.fork()
        if pid == 0:
            signal.alarm(3)
            _ = kernel.engine.in_flight
            os._exit(0)
        ends.add(os.waitpid(pid, 0)[1])
    return repr(ends)
