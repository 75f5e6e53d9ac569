"""Calls that go on after their connection, for as many seconds as the parameter `seconds` has."""

from __future__ import annotations

import asyncio
import sys

from parameters import PARAMETERS


def tell(text):
    print(text, file=sys.stderr, flush=True)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        tell("shut down")
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        tell("begun")
        await asyncio.sleep(PARAMETERS["seconds"])
        tell("saved")
    else:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello"})
        tell("begun")
        await asyncio.sleep(PARAMETERS["seconds"])
        tell("saved")
