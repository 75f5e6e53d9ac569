"""As `wsgi_path.py`, for ASGI."""

from __future__ import annotations


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app " + scope["path"].encode()})
