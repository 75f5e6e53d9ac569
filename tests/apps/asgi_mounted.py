"""As `wsgi_mounted.py`, for ASGI."""

from __future__ import annotations

import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = f"{scope['root_path']}|{scope['path']} from {os.getpid()}".encode()
    await send({"type": "http.response.body", "body": body})
