"""ASGI calls that never end."""

from __future__ import annotations

import asyncio
import time

reported: list[str] = []


async def app(scope, receive, send):
    if scope["path"] == "/blocks":
        await asyncio.sleep(0.01)
        time.sleep(60)
    try:
        if scope["path"] == "/forever":
            await asyncio.sleep(60)
    except asyncio.CancelledError:
        reported.append(scope["type"])
        raise
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": repr(reported).encode()})
