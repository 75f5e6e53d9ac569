"""A server with header fields for every response."""

from __future__ import annotations

import asyncio

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(
    kernel,
    headers={"Server": "prefork", "X-Frame-Options": "DENY"},
    max_body=100,
    max_head=1024,
    header_timeout=0.3,
    request_timeout=0.3,
)


@server.handle("^/plain")
def plain():
    return "plain"


@server.handle("^/own")
def own(response):
    response.header("Server", "mine")


@server.handle("^/stream")
def stream():
    yield "piece"


@server.handle("^/raises")
def raises():
    raise ValueError("on purpose")


@server.handle("^/late")
async def late():
    await asyncio.Event().wait()
