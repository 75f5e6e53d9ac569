"""How responses are framed; `parameters` are options of the server."""

from __future__ import annotations

import asyncio

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel, Session, event

kernel = Kernel()
server = HTTPServer(
    kernel,
    handlers=[
        {"dir": "^/pieces$", "session": "PIECES", "event": "begin"},
        {"dir": "^/posted$", "session": "PIECES", "event": "posted"},
    ],
    headers={"X-Server": "test"},
    **PARAMETERS,
)
finished: list[str] = []


@server.handle(r"^/hello$")
def hello():
    return "hello"


@server.handle(r"^/status/(?P<code>\d+)$")
def status(response, code):
    response.code = int(code)
    response.content = "" if code in ("204", "304") else "text"


@server.handle(r"^/stream/(?P<count>\d+)$")
async def stream(count):
    for number in range(int(count)):
        yield f"piece {number}\n"
        await asyncio.sleep(0)


@server.handle(r"^/endless$")
async def endless():
    try:
        while True:
            yield "more\n"
    finally:
        finished.append("endless")


@server.handle(r"^/endless_plain$")
def endless_plain():
    try:
        while True:
            yield "more\n"
    finally:
        finished.append("endless_plain")


class Noisy(bytes):
    def __del__(self):
        finished.append(str(kernel.engine.connections))


@server.handle(r"^/noisy$")
def noisy():
    return Noisy(b"x" * 100_000)


@server.handle(r"^/finished$")
def reported():
    return " ".join(finished)


@server.handle(r"^/known$")
def known(response):
    response.headers["Content-Length"] = "10"
    for _ in range(2):
        yield "12345"


@server.handle(r"^/nothing$")
async def nothing():
    for piece in list[str]():
        yield piece


class Pieces(Session):
    alias = "PIECES"

    @event
    def begin(self, request, response, pattern):
        self.left = 3
        response.stream("PIECES", "more")
        response.content = "first,"
        self.kernel.post("HTTPD", "STREAM", response)

    @event
    def posted(self, request, response, pattern):
        response.content = "posted"
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def more(self, response):
        self.left -= 1
        if self.left == 0:
            response.done()
            return
        response.content = "next,"
        self.kernel.post("HTTPD", "STREAM", response)


kernel.add(Pieces())
