"""An ASGI application that blocks its loop: in a request, or without one."""

from __future__ import annotations

import asyncio
import os
import time

tasks: set[asyncio.Task[None]] = set()


async def block(seconds: float) -> None:
    await asyncio.sleep(0.01)
    time.sleep(seconds)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        time.sleep(1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    seconds = float(scope["query_string"] or 0)
    if scope["path"] == "/blocks":
        await block(seconds)
    elif scope["path"] == "/later":
        tasks.add(asyncio.create_task(block(seconds)))
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
