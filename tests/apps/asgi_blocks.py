"""A task that blocks its worker in a later step, until the file of the parameter `release` is there."""

from __future__ import annotations

import asyncio
import os
import time

from parameters import PARAMETERS


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/block":
        await asyncio.sleep(0.01)
        open(PARAMETERS["stuck"], "w").close()
        while not os.path.exists(PARAMETERS["release"]):
            time.sleep(0.002)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
