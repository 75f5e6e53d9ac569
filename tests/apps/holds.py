"""`/hold...` lasts until the file of the parameter `release` is there. Other paths respond at once."""

from __future__ import annotations

import asyncio
import os
import time

from parameters import PARAMETERS

PLAIN = [("Content-Type", "text/plain")]


def is_held(path: str) -> bool:
    return path.startswith("/hold") and not os.path.exists(PARAMETERS["release"])


def wsgi(environ, start_response):
    while is_held(environ["PATH_INFO"]):
        time.sleep(0.002)
    start_response("200 OK", PLAIN)
    return [b"done"]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while is_held(scope["path"]):
        await asyncio.sleep(0.002)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"done"})
