"""A plain ASGI application with the same response, and an echo by WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bench.servers import BODY

Event = dict[str, Any]
CONTENT = BODY.encode()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", str(len(CONTENT)).encode())],
}
END = {"type": "http.response.body", "body": CONTENT}


async def app(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    if scope["type"] == "http":
        await send(START)
        await send(END)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        raise RuntimeError("no lifespan: a server goes on without it")


async def echo(receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
