"""Applications of each kind that say what their requests are called, or fail with it."""

from __future__ import annotations

import json

from prefork import Kernel, PreForkServer, Session, event


def body(names):
    return json.dumps(names).encode()


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("a fault")
    if environ["PATH_INFO"] == "/reads":
        environ["wsgi.input"].read()
    names = {
        "id": environ.get("prefork.request_id"),
        "field": environ.get("HTTP_X_REQUEST_ID"),
        "trace": environ.get("HTTP_TRACEPARENT"),
    }
    start_response("200 OK", [("X-Request-ID", "of the application"), ("X-Kind", "wsgi")])
    return [body(names)]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    names = {
        "id": scope["state"].get("request_id"),
        "field": headers.get("x-request-id"),
        "trace": headers.get("traceparent"),
    }
    if scope["path"] == "/fails":
        raise ValueError("a fault")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": body(names)})
        return
    if scope["path"] == "/reads":
        while (await receive()).get("more_body"):
            pass
    fields = [(b"x-request-id", b"of the application"), (b"x-kind", b"asgi")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body(names)})


class Drops(Session):
    alias = "DROPS"

    @event
    def drop(self, request, response, pattern):
        pass


kernel = Kernel()
kernel.add(Drops())
events = PreForkServer(kernel, handlers=[{"dir": "/drops", "session": "DROPS", "event": "drop"}])


@events.handle("/fails")
def fails(request):
    raise ValueError("a fault")


@events.handle(".*")
def show(request, response):
    response.header("X-Request-ID", "of the application")
    response.content = body(
        {"id": request.id, "field": request.header("x-request-id"), "trace": request.header("traceparent")}
    )
    response.done()
