"""The pages of conversations.py in Falcon, over ASGI."""

from __future__ import annotations

import hashlib
import os

import falcon
import falcon.asgi


class Hello:
    async def on_get(self, req, resp, name):
        resp.media = {"greeting": req.get_param("greeting"), "name": name, "pid": os.getpid()}


class Upload:
    async def on_post(self, req, resp):
        found = {}
        async for part in await req.get_media():
            if part.name == "file":
                data = await part.stream.read()
                found |= {
                    "name": part.filename,
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            else:
                found[part.name] = await part.get_text()
        resp.media = found


class Lines:
    async def on_get(self, req, resp):
        async def parts():
            for number in range(200):
                yield f"line {number}\n".encode()

        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = parts()


class Events:
    async def on_get(self, req, resp):
        async def events():
            for number in range(5):
                yield falcon.asgi.SSEvent(text=f"event {number}")

        resp.sse = events()


class Echo:
    async def on_websocket(self, req, ws):
        await ws.accept()
        try:
            while True:
                received = await ws._receive()
                if received.get("text") is not None:
                    await ws.send_text(f"echo {received['text']}")
                else:
                    await ws.send_data(received["bytes"][::-1])
        except falcon.WebSocketDisconnected:
            pass


class Fails:
    async def on_get(self, req, resp):
        raise RuntimeError("meant to fail")


application = falcon.asgi.App()
application.ws_options.max_receive_queue = 8
application.add_route("/hello/{name}", Hello())
application.add_route("/upload", Upload())
application.add_route("/lines", Lines())
application.add_route("/events", Events())
application.add_route("/echo", Echo())
application.add_route("/fails", Fails())
