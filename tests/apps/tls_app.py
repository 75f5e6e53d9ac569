"""Tells what an application learns about its connection: as WSGI, as ASGI, and to handlers."""

from __future__ import annotations

import json
import os

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel, PreForkServer


def wsgi(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    sockets = [key for key in environ if key.endswith(".socket")]
    body = json.dumps({**shown, "sockets": sockets, "pid": os.getpid()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    shown = {"scheme": scope["scheme"], "tls": scope["extensions"].get("tls"), "pid": os.getpid()}
    body = json.dumps(shown)
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


def handle(request, response):
    connection = request.connection
    shown = {"uri": request.uri, "ssl": connection.ssl, "cipher": connection.sslcipher, "pid": os.getpid()}
    response.content = json.dumps(shown)


def events():
    """A server with the options that the test gives."""
    kernel = Kernel()
    options = dict(PARAMETERS["options"])
    kind = PreForkServer if options.pop("pool", False) else HTTPServer
    server = kind(kernel, address="127.0.0.1", port=0, **options)
    server.handle(".*")(handle)
    return server
