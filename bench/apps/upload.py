"""Starlette takes a form with a file, which it writes to the disk piece by piece, in a thread."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from bench.servers import BODY, PATH


async def hello(_request: Request) -> Response:
    return PlainTextResponse(BODY)


async def upload(request: Request) -> Response:
    """Responds with the size of the file, and with the number of parts in which the body came."""
    parts = 0

    async def receive() -> Message:
        nonlocal parts
        parts += 1
        return await request.receive()

    async with Request(request.scope, receive).form() as form:
        size = getattr(form["file"], "size", 0)
    return PlainTextResponse(f"{size} {parts}")


app = Starlette(routes=[Route(PATH, hello), Route("/upload", upload, methods=["POST"])])
