"""Checks again and again whether the client left, and responds with what that leaves in memory."""

from __future__ import annotations

import asyncio
import gc


def futures():
    return sum(type(one) is asyncio.Future for one in gc.get_objects())


async def app(scope, receive, send):
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    before = futures()
    for _ in range(200):
        asked = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.sleep(0)
    left = str(futures() - before)
    if scope["type"] == "websocket":
        await send({"type": "websocket.send", "text": left})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": left.encode()})
