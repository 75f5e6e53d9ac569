"""Applications of each kind that end with an exception that is hard to handle; the path names it.

Under `/some/` it comes in the middle of a response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prefork import Kernel, PreForkServer, Session, event


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Exits(Exception):
    def __repr__(self):
        raise SystemExit("in repr")

    __str__ = __repr__


class Cancels(ValueError):
    def __repr__(self):
        raise asyncio.CancelledError

    __str__ = __repr__


class ItsString(str):
    def __str__(self):
        raise KeyError("no text either")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "unspeakable": Unspeakable,
    "exits": Exits,
    "cancels": Cancels,
    "string": lambda: ValueError(ItsString()),
    "group": lambda: ExceptionGroup("of these", [Unspeakable(), Exits()]),
    "cancelled": asyncio.CancelledError,
    "generator": GeneratorExit,
    "stop": StopIteration,
    "stop_async": StopAsyncIteration,
    "base": BaseException,
}


def cancel_current():
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def error(path):
    return ERRORS[path.rpartition("/")[2]]()


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        start_response("200 OK", [])
        return [b"fine"]
    if path.startswith("/some/"):
        start_response("200 OK", [])
        return body(path)
    raise error(path)


class body:  # noqa: N801
    """An iterator, not a generator: that would make another exception of StopIteration."""

    def __init__(self, path):
        self.path = path
        self.parts = [b"some"]

    def __iter__(self):
        return self

    def __next__(self):
        if self.parts:
            return self.parts.pop()
        raise error(self.path)


async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        if scope["path"].startswith("/some/"):
            await receive()
            await send({"type": "websocket.accept"})
        raise error(scope["path"])
    if scope["path"].startswith("/later/"):
        await asyncio.sleep(0)
    elif scope["path"].startswith("/awaited/"):
        task = asyncio.ensure_future(asyncio.sleep(1))
        await asyncio.sleep(0)
        task.cancel()
        await task
    elif scope["path"].startswith("/itself/"):
        cancel_current()
        await asyncio.sleep(0)
    more = scope["path"].startswith("/some/")
    if more or scope["path"] == "/":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine", "more_body": more})
        if not more:
            return
    raise error(scope["path"])


class Pages(Session):
    alias = "PAGES"

    @event
    def now(self, request, response, pattern):
        raise error(request.path)

    @event
    async def later(self, request, response, pattern):
        await asyncio.sleep(0)
        raise error(request.path)


kernel = Kernel()
kernel.add(Pages())
events = PreForkServer(
    kernel,
    handlers=[
        {"dir": "^/now/", "session": "PAGES", "event": "now"},
        {"dir": "^/later/", "session": "PAGES", "event": "later"},
    ],
)


@events.handle("^/$")
def fine():
    return "fine"


@events.handle("^/function/")
def function(request):
    raise error(request.path)


@events.handle("^/async/")
async def asynchronous(request):
    raise error(request.path)


@events.handle("^/awaited/")
async def awaited(request):
    task = asyncio.ensure_future(asyncio.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await task


@events.handle("^/itself/")
async def itself(request):
    cancel_current()
    await asyncio.sleep(0)


@events.handle("^/some/")
async def some(request):
    yield "some"
    raise error(request.path)


@events.handle("^/other/")
def other(request):
    yield "some"
    raise error(request.path)
