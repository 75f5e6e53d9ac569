"""A plain ASGI application with the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bench.servers import BODY

CONTENT = BODY.encode()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", str(len(CONTENT)).encode())],
}
END = {"type": "http.response.body", "body": CONTENT}


async def app(_scope: object, _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await send(START)
    await send(END)
