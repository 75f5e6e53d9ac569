"""An ASGI application without a framework: a page, server-sent events, a WebSocket, a lifespan.

prefork serve examples/asgi.py --workers 4
"""

import asyncio
import os


async def app(scope, receive, send):
    match scope["type"]:
        case "lifespan":
            await live(scope, receive, send)
        case "websocket":
            await echo(receive, send)
        case "http" if scope["path"] == "/events":
            await tick(send)
        case "http":
            worker = scope["state"]["worker"]
            await respond(send, f"Hello from ASGI, worker {worker}\n".encode())


async def live(scope, receive, send):
    """Once in each worker: before its first request, and after its last."""
    await receive()
    scope["state"]["worker"] = os.getpid()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def respond(send, body):
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def tick(send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(10):
        await send({"type": "http.response.body", "body": f"data: {number}\n\n".encode(), "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b""})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})
