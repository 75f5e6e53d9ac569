"""Streams of every kind."""

from __future__ import annotations

import asyncio
from typing import Any

from prefork import HTTPServer, Kernel, Session, event

PIECE = b"x" * 65536
made: dict[str, Any] = {"pieces": 0, "ended": []}


class Producer(Session):
    alias = "PRODUCER"

    @event
    def start(self, request, response, pattern):
        response.stream("PRODUCER", "piece")
        request.connection.when_closed(lambda: made["ended"].append("closed"))
        self.piece(response)

    @event
    def piece(self, response):
        made["pieces"] += 1
        response.content = PIECE
        self.kernel.post("HTTPD", "STREAM", response)

    @event
    def start_paced(self, request, response, pattern):
        response.stream("PRODUCER", "paced", True)
        self.paced(response)

    @event
    def paced(self, response):
        """Sets its own pace, until the client has left."""
        response.content = PIECE
        if self.kernel.call("HTTPD", "STREAM", response):
            self.delay("paced", 0.01, response)
        else:
            made["ended"].append("closed")


kernel = Kernel()
kernel.add(Producer())
server = HTTPServer(
    kernel,
    error_handler=lambda text, ip: made["ended"].append(text),
    handlers=[
        {"dir": "^/event", "session": "PRODUCER", "event": "start"},
        {"dir": "^/paced", "session": "PRODUCER", "event": "start_paced"},
    ],
)


@server.handle("^/generator")
def generator():
    try:
        while True:
            made["pieces"] += 1
            yield PIECE
    finally:
        made["ended"].append("closed")


@server.handle("^/async_generator")
async def async_generator():
    try:
        while True:
            made["pieces"] += 1
            yield PIECE
            await asyncio.sleep(0)
    finally:
        made["ended"].append("closed")


@server.handle("^/idle")
async def idle():
    yield "first"
    try:
        await asyncio.Event().wait()
    finally:
        made["ended"].append("closed")


@server.handle("^/raises$")
async def raises():
    yield "first"
    raise ValueError("in the middle")


@server.handle("^/raises_before")
async def raises_before(response):
    response.headers["X-Half"] = "done"
    raise ValueError("before the first piece")
    yield


@server.handle("^/declared/(?P<length>[0-9]+)")
def declared(length, response):
    response.headers["Content-Length"] = length
    yield "12345"
    yield "67890"


@server.handle("^/writes_on")
async def writes_on(request, response):
    left = asyncio.Event()
    request.connection.when_closed(left.set)
    response.write("first")
    await left.wait()
    try:
        response.write("second")
    finally:
        made["ended"].append("closed")


@server.handle("^/loops")
async def loops(response):
    try:
        while True:
            response.write(PIECE)
            await asyncio.sleep(0.01)
    finally:
        made["ended"].append("closed")


@server.handle("^/parts")
def parts(response):
    for piece in "one", "two", "three":
        response.write(piece)
    response.done()
    made["ended"].append("done")


@server.handle("^/vanish")
def vanish(response):
    response.stream("PRODUCER", "gone")
    response.content = "piece"
    server.stream(response)


@server.handle("^/forget")
def forget(response):
    response.stream("PRODUCER", "piece", True)
    response.write("piece")


@server.handle("^/made")
def tell():
    return made
