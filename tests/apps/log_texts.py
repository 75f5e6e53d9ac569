"""Applications of each kind that write what a client sent to the log.

The first part of the path says how: `raises` (the path is in the log line of the server), `quotes` (it is in
the exception too), `several` (in an exception of several lines), `logs` (a logger of the application has it)
or `silent` (no response).
"""

from __future__ import annotations

import asyncio
import logging

from prefork import Kernel, PreForkServer, Session, event

logger = logging.getLogger("shop")


def write(path):
    kind = path.split("/")[1]
    if kind == "raises":
        raise ValueError("a fault")
    if kind == "quotes":
        raise ValueError(path)
    if kind == "several":
        raise ExceptionGroup(path, [KeyError(f"first\n{path}"), ValueError(path)])
    if kind == "logs":
        logger.error("no such page: %s", path)
        raise LookupError("it is in the log")


def wsgi(environ, start_response):
    write(environ["PATH_INFO"])
    return []


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await receive()
    await asyncio.sleep(0)
    write(scope["path"])


class Pages(Session):
    alias = "PAGES"

    @event
    def page(self, request, response, pattern):
        write(request.path)

    @event
    async def later(self, request, response, pattern):
        await asyncio.sleep(0)
        write(request.path)


kernel = Kernel()
kernel.add(Pages())
events = PreForkServer(
    kernel,
    handlers=[
        {"dir": "/later", "session": "PAGES", "event": "later"},
        {"dir": "", "session": "PAGES", "event": "page"},
    ],
)


async def waits(scope, receive, send):
    await asyncio.Event().wait()
