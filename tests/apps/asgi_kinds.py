"""Responses of every kind, for the access log."""

from __future__ import annotations


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise ValueError(f"no {scope['type']} here")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close" if scope["path"] == "/refused" else "websocket.accept"})
        await receive()
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"12345"})
