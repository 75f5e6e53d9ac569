"""What bench/traffic.py asks for: a body that names the request, a received body's sum, and a slow stream."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Event = dict[str, Any]
PIECES = 10
PAUSE_S = 0.02
TIMES_S = {"wait": 0.02, "stuck": 600.0}
"""How long a request takes, by the first part of its path."""


def line(name: str) -> bytes:
    """What names a request, and the process that has served it."""
    return f"{name} {os.getpid()}\n".encode()


def pieces(name: str) -> Iterator[bytes]:
    """A streamed response: each piece comes after a pause."""
    for number in range(PIECES):
        yield line(f"{name}.{number}")


async def asgi(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        raise RuntimeError("no lifespan: a server goes on without it")
    kind, name = scope["path"].lstrip("/").split("/")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if kind == "stream":
        for piece in pieces(name):
            await asyncio.sleep(PAUSE_S)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if kind in TIMES_S:
        await asyncio.sleep(TIMES_S[kind])
    total, more = 0, True
    while more:
        event = await receive()
        total = zlib.crc32(event.get("body", b""), total)
        more = event.get("more_body", False)
    await send({"type": "http.response.body", "body": line(f"{name} {total}")})


def wsgi(environ: Event, start_response: Callable[..., object]) -> Iterator[bytes]:
    kind, name = environ["PATH_INFO"].lstrip("/").split("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if kind == "stream":
        for piece in pieces(name):
            time.sleep(PAUSE_S)
            yield piece
        return
    if kind in TIMES_S:
        time.sleep(TIMES_S[kind])
    total = 0
    while part := environ["wsgi.input"].read(65536):
        total = zlib.crc32(part, total)
    yield line(f"{name} {total}")
