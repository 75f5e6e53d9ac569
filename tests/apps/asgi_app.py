"""The application of the ASGI tests: each path does one thing that ASGI allows, or does not.

It is imported by the server under test only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]

marked: contextvars.ContextVar[str] = contextvars.ContextVar("marked", default="nothing")
recorded: list[str] = []
"""What became of the requests that outlive their client, in order."""

TEXT = (b"content-type", b"text/plain")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
        return
    await globals()[scope["path"].strip("/") or "hello"](scope, receive, send)


async def _lifespan(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["begun_in"] = os.getpid()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("shut down", file=sys.stderr, flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def respond(send: Send, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [TEXT, *headers]})
    await send({"type": "http.response.body", "body": body})


async def whole(receive: Receive) -> tuple[bytes, int]:
    """The body, and in how many pieces it came."""
    pieces = []
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        more = message["more_body"]
    return b"".join(pieces), len(pieces)


# What works


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, b"hello")


async def shown(scope: Message, receive: Receive, send: Send) -> None:
    """The scope."""
    scope["state"]["mine"] = 1  # in a copy
    scope["extensions"]["mine"] = {}
    await respond(send, repr(scope).encode())


async def shared(scope: Message, receive: Receive, send: Send) -> None:
    """What this request was given that another may have changed."""
    names = [*scope["state"], *(name for name in scope["extensions"] if "." not in name)]
    await respond(send, " ".join(names).encode())


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    body, _ = await whole(receive)
    await respond(send, body)


async def count(scope: Message, receive: Receive, send: Send) -> None:
    """The size of the body, and the peak memory of this process in KiB."""
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await respond(send, f"{size} {_peak_kib()}".encode())


async def memory(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, str(_peak_kib()).encode())


def _peak_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


async def duplex(scope: Message, receive: Receive, send: Send) -> None:
    """Sends each piece back as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def deaf(scope: Message, receive: Receive, send: Send) -> None:
    """Responds without reading the body."""
    await respond(send, b"no thanks", 413)


async def pieces(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for piece in (b"one ", bytearray(b"two "), memoryview(b"three")):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def large(scope: Message, receive: Receive, send: Send) -> None:
    """As many MiB as the query names."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    piece = bytes(1 << 20)
    for _ in range(int(scope["query_string"])):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def trailers(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT], "trailers": True})
    await send({"type": "http.response.body", "body": b"body"})
    trailer = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True}
    await send(trailer)
    await send({"type": "http.response.trailers", "headers": [(b"x-done", b"yes")]})


async def shaped(scope: Message, receive: Receive, send: Send) -> None:
    """Header fields as all that ASGI allows: iterables of two byte strings."""
    shapes = ([b"x-one", b"1"], (bytearray(b"x-two"), memoryview(b"2")), iter([b"x-three", b"3"]))
    start = {"type": "http.response.start", "status": 200, "headers": iter(shapes), "trailers": True}
    await send(start)
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [[b"x-sum", b"1"]]})


async def hints(scope: Message, receive: Receive, send: Send) -> None:
    links = [b"</style.css>; rel=preload", b"</script.js>; rel=preload"]
    await send({"type": "http.response.early_hint", "links": links})
    await respond(send, b"hinted")


async def file(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await send({"type": "http.response.pathsend", "path": scope["query_string"].decode()})


async def closing(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, b"last", 200, (b"connection", b"close"))


async def status(scope: Message, receive: Receive, send: Send) -> None:
    """The status in the query, with headers of a body."""
    await respond(send, b"", int(scope["query_string"]), (b"etag", b'"1"'))


async def tasks(scope: Message, receive: Receive, send: Send) -> None:
    """What an asyncio task may expect."""
    task = asyncio.current_task()
    assert task is not None
    assert task.get_loop() is asyncio.get_running_loop()
    assert marked.get() == "nothing"
    marked.set("mine")
    async with asyncio.TaskGroup() as group:
        sleeping = [group.create_task(asyncio.sleep(0.001, number)) for number in range(3)]
        reading = group.create_task(receive())  # as if it were a coroutine
    assert reading.result() == {"type": "http.request", "body": b"", "more_body": False}
    assert asyncio.current_task() is task
    assert marked.get() == "mine"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(10)
    await respond(send, repr([sleep.result() for sleep in sleeping]).encode())


async def threads(scope: Message, receive: Receive, send: Send) -> None:
    import anyio

    assert anyio.get_current_task().id == id(asyncio.current_task())
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.001)
    with anyio.move_on_after(0.001):
        await anyio.sleep(10)
    await respond(send, await anyio.to_thread.run_sync(lambda: b"from a thread"))


async def impatient(scope: Message, receive: Receive, send: Send) -> None:
    """Gives up a wait for the body, and gets all of it all the same."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(receive(), 0.05)
    recorded.append("impatient")
    body, _ = await whole(receive)
    await respond(send, body)


async def after(scope: Message, receive: Receive, send: Send) -> None:
    """Goes on when its response is complete."""
    await respond(send, b"done")
    recorded.append((await receive())["type"])  # the body
    recorded.append((await receive())["type"])


async def waits(scope: Message, receive: Receive, send: Send) -> None:
    """Sends nothing and waits until the client leaves."""
    await whole(receive)
    recorded.append("waiting")
    recorded.append((await receive())["type"])
    recorded.append((await receive())["type"])
    with contextlib.suppress(OSError):
        await respond(send, b"too late")
        recorded.append("sent")


async def watched(scope: Message, receive: Receive, send: Send) -> None:
    """Responds when another task has seen the response."""

    async def watch() -> None:
        await whole(receive)
        recorded.append((await receive())["type"])

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await respond(send, b"watched")
    await watching


async def hurried(scope: Message, receive: Receive, send: Send) -> None:
    """Ends its response while another piece of it still waits to leave."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    message = {"type": "http.response.body", "body": bytes(8_000_000), "more_body": True}
    first = asyncio.create_task(send(message))
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"end"})
    await first
    recorded.append("both")


async def deserted(scope: Message, receive: Receive, send: Send) -> None:
    """Fails while one of its tasks waits for the client."""

    async def watch() -> None:
        await whole(receive)
        recorded.append((await receive())["type"])

    watching.append(asyncio.create_task(watch()))
    await asyncio.sleep(0.01)
    raise ValueError("deserted")


watching: list[asyncio.Task[None]] = []


async def forever(scope: Message, receive: Receive, send: Send) -> None:
    """Streams until the client has left. The query may name a status."""
    status = int(scope["query_string"] or 200)
    await send({"type": "http.response.start", "status": status, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
    except OSError as error:
        recorded.append(type(error).__name__)
        raise


async def events(scope: Message, receive: Receive, send: Send) -> None:
    """Server-sent events: one at once, one after a request for `go`."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    await send({"type": "http.response.body", "body": b"data: begin\n\n", "more_body": True})
    await _gate().wait()
    await send({"type": "http.response.body", "body": b"data: end\n\n"})


async def go(scope: Message, receive: Receive, send: Send) -> None:
    _gate().set()
    await respond(send, b"gone")


_gates: list[asyncio.Event] = []


def _gate() -> asyncio.Event:
    if not _gates:
        _gates.append(asyncio.Event())
    return _gates[0]


async def records(scope: Message, receive: Receive, send: Send) -> None:
    """What other calls have noted in `recorded`."""
    await respond(send, " ".join(recorded).encode())


async def pid(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, str(os.getpid()).encode())


async def loop(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, type(asyncio.get_running_loop()).__name__.encode())


# What does not work


async def raises(scope: Message, receive: Receive, send: Send) -> None:
    raise ValueError("on purpose")


async def raises_begun(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begin", "more_body": True})
    raise ValueError("in the middle")


async def raises_done(scope: Message, receive: Receive, send: Send) -> None:
    await respond(send, b"complete")
    raise ValueError("afterwards")


async def silent(scope: Message, receive: Receive, send: Send) -> None:
    pass


async def blocks(scope: Message, receive: Receive, send: Send) -> None:
    time.sleep(0.2)
    await respond(send, b"at last")


async def breaks_off(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begin", "more_body": True})


async def cancels(scope: Message, receive: Receive, send: Send) -> None:
    raise asyncio.CancelledError


async def wrong(scope: Message, receive: Receive, send: Send) -> None:
    """Sends what the query evaluates to: a list of messages."""
    from urllib.parse import unquote

    for message in eval(unquote(scope["query_string"].decode())):
        await send(message)


async def exits(scope: Message, receive: Receive, send: Send) -> None:
    raise SystemExit(7)


async def exits_later(scope: Message, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.001)
    sys.exit(7)


async def exits_in_a_task(scope: Message, receive: Receive, send: Send) -> None:
    await asyncio.create_task(exits_later(scope, receive, send))


class Wrapper:
    """An application that is an object, and whose call is no coroutine function."""

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        return app(scope, receive, send)


wrapped = Wrapper()
