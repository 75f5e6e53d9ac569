"""Responds with the client's address as a proxy passes it on, and echoes over a WebSocket."""

from __future__ import annotations


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        return
    if scope["type"] == "lifespan":
        raise ValueError(f"no {scope['type']} here")
    body = f"{scope['client']} {scope['root_path']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
