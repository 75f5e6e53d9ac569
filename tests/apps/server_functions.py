"""Handlers that are functions: every form they may have."""

from __future__ import annotations

import asyncio

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle("^/str$")
def text():
    return "täxt"


@server.handle("^/bytes")
def octets(response):
    response.content_type = "image/gif"
    return b"GIF89a"


@server.handle("^/dict")
def mapping():
    return {"a": [1, None, "ü"]}


@server.handle("^/list")
def sequence(response):
    response.code = 203
    return [1, 2]


@server.handle("^/none$")
def nothing():
    pass


@server.handle("^/filled")
def filled(response):
    response.code = 404
    response.content = "not here"


@server.handle("^/group/(?P<name>[a-z]+)(/(?P<number>[0-9]+))?")
def group(name, number, request, match):
    return [name, number, request.path, match.group(0)]


@server.handle("^/async/str")
async def async_text():
    await asyncio.sleep(0)
    return "later"


@server.handle("^/async/none")
async def async_nothing(response):
    await asyncio.sleep(0)
    response.content = "filled later"


@server.handle("^/async/generator")
async def async_generator(response):
    response.code = 202
    response.content_type = "text/csv"
    for number in range(3):
        yield f"{number},"
        await asyncio.sleep(0)


@server.handle("^/async/returns_generator")
async def returns_generator():
    return (piece for piece in ("a", "b"))


@server.handle("^/generator")
def generator():
    yield "one "
    yield b"two "
    yield ""
    yield "three"


@server.handle("^/no_piece")
def no_piece(response):
    response.code = 404
    response.content = "a stream is its pieces alone"
    yield from ()


@server.handle("^/writes")
def writes(response):
    response.write("one ")
    response.write("two")


@server.handle("^/responds$")
def responds(response):
    response.content = "served"
    response.done()


@server.handle("^/closes")
def closes(response):
    response.close()


@server.handle("^/responds_twice")
def responds_twice(response):
    response.content = "first"
    response.done()
    return "second"


@server.handle("^/stream_by_event")
def by_event(response):
    response.stream("PAGES", "piece")
    response.content = "one "
    kernel.post("HTTPD", "STREAM", response)


def piece(response):
    if response.content == "two":
        response.done()
    else:
        response.content = "two"
        kernel.post("HTTPD", "STREAM", response)


kernel.session("PAGES", {"piece": piece})


@server.handle("^/int")
def wrong_type():
    return 7


@server.handle("^/async/int")
async def async_wrong_type():
    return 7


@server.handle("^/unserializable")
def unserializable():
    return {"a": object()}


@server.handle("^/wrong_first_piece")
def wrong_first_piece():
    yield 7


@server.handle("^/wrong_second_piece")
def wrong_second_piece():
    yield "good"
    yield 7
