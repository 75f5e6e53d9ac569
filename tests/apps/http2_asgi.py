"""An ASGI application for clients of HTTP/2."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

EVENTS: list[str] = []
RELEASED = asyncio.Event()
FLOOD = b"0123456789" * 5000


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["type"] == "http":
        handler = HANDLERS.get(scope["path"], hello)
        await handler(scope, receive, send)


async def respond(send: Send, body: bytes, *fields: tuple[bytes, bytes], more: bool = False) -> None:
    headers = [(b"content-type", b"text/plain"), *fields]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def hello(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, b"hello")


async def show(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    shown = {name: scope[name] for name in ("http_version", "method", "path", "scheme")}
    await respond(send, json.dumps({**shown, "headers": headers}).encode())


async def digest(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    whole = hashlib.sha256()
    more = True
    while more:
        message = await receive()
        whole.update(message.get("body", b""))
        more = message.get("more_body", False)
    await respond(send, whole.hexdigest().encode())


async def hold(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Respond when /release was called, or note that the client has left."""
    await receive()
    EVENTS.append("held")
    left = asyncio.ensure_future(receive())
    released = asyncio.ensure_future(RELEASED.wait())
    await asyncio.wait({left, released}, return_when=asyncio.FIRST_COMPLETED)
    released.cancel()
    if not RELEASED.is_set():
        EVENTS.append(left.result()["type"])
        return
    left.cancel()
    await respond(send, b"released")


async def block(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Block the loop until a file is there, and say in another one that it is waited for."""
    path = scope["query_string"].decode()
    Path(path + ".begun").write_text(str(os.getpid()))
    while not os.path.exists(path):
        time.sleep(0.001)
    await pid(scope, receive, send)


async def pid(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, str(os.getpid()).encode())


async def leave(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Write into a file what comes after the request."""
    await receive()
    path = scope["query_string"].decode()
    Path(path + ".begun").write_text(str(os.getpid()))
    message = await receive()
    Path(path).write_text(message["type"])


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"{scope['http_version']} {os.getpid()}"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})
    if scope["query_string"]:
        Path(scope["query_string"].decode()).write_text(str(message["code"]))


async def release(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    RELEASED.set()
    await respond(send, b"done")


async def events(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, json.dumps(EVENTS).encode())


async def flood(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, b"", more=True)
    for _ in range(40):
        EVENTS.append("part")
        await send({"type": "http.response.body", "body": FLOOD, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})


async def never_reads(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, b"", more=True)
    await RELEASED.wait()
    await send({"type": "http.response.body", "body": b"end"})


async def ticks(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Server-sent events: one, and the others when /release was called."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await RELEASED.wait()
    await send({"type": "http.response.body"})


async def trailers(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
    await send(start)
    await send({"type": "http.response.body", "body": b"body"})
    fields = [(b"X-Sum", b"1")]
    await send({"type": "http.response.trailers", "headers": fields, "more_trailers": False})


async def hints(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
    await respond(send, b"hinted")


async def fail(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, b"begun", more=True)
    raise RuntimeError("in the middle")


HANDLERS = {
    "/block": block,
    "/pid": pid,
    "/leave": leave,
    "/scope": show,
    "/hash": digest,
    "/hold": hold,
    "/release": release,
    "/events": events,
    "/flood": flood,
    "/never": never_reads,
    "/ticks": ticks,
    "/trailers": trailers,
    "/hints": hints,
    "/fail": fail,
}
