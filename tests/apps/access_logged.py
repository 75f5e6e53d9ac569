"""Applications whose responses are logged, of each kind."""

import os
import time


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    environ["app.user"] = "ann\n"
    if path == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    body = environ["wsgi.input"].read() if path == "/echo" else str(os.getpid()).encode()
    start_response("200 OK", [("X-Set", "yes"), ("Content-Type", "text/plain")])
    if path == "/parts":
        return iter([b"one", b"two"])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    body, more = b"", scope["path"] == "/echo"
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"x-set", b"yes"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/parts":
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        return
    await send({"type": "http.response.body", "body": body or str(os.getpid()).encode()})
