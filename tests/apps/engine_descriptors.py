"""A server that may have few descriptors."""

from __future__ import annotations

import asyncio
import os

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle(r"^/body$")
def body(request):
    return str(len(request.content))


taken: list[int] = []


@server.handle(r"^/take$")
def take():
    """Takes all descriptors that are left."""
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return str(len(taken))


@server.handle(r"^/stream$")
async def stream():
    yield "hello"
    await asyncio.Event().wait()


@server.handle(r"")
def hello():
    return "hello"
