"""What Starlette's own tests of requests, responses and WebSockets serve, as routes of one application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

events: list[str] = []


async def url(request: Request) -> Response:
    about = {"method": request.method, "url": str(request.url), "params": dict(request.query_params)}
    return JSONResponse(about | {"base": str(request.base_url)})


async def headers(request: Request) -> Response:
    return JSONResponse([[name, value] for name, value in request.headers.items()])


async def client(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse({"host": request.client.host, "port": request.client.port})


async def body(request: Request) -> Response:
    return JSONResponse({"body": (await request.body()).decode()})


async def body_twice(request: Request) -> Response:
    whole = await request.body()
    pieces = b"".join([piece async for piece in request.stream()])
    return JSONResponse({"body": whole.decode(), "stream": pieces.decode()})


async def stream_then_body(request: Request) -> Response:
    pieces = b"".join([piece async for piece in request.stream()])
    try:
        await request.body()
    except RuntimeError:
        return JSONResponse({"stream": pieces.decode(), "body": "consumed"})
    return JSONResponse({"stream": pieces.decode(), "body": "there"})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        read: dict[str, Any] = {}
        for name, value in fields.items():
            read[name] = value if isinstance(value, str) else [value.filename, (await value.read()).decode()]
    return JSONResponse(read)


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("one", "1", httponly=True)
    response.set_cookie("two", "2")
    return response


async def text(_request: Request) -> Response:
    return Response("hello, world", media_type="text/plain")


async def raw(_request: Request) -> Response:
    return Response(b"\x00\xff", media_type="image/png", headers={"x-header-1": "123"})


async def redirect(request: Request) -> Response:
    return RedirectResponse("/text?from=I ♥ you", status_code=int(request.query_params.get("code", "307")))


async def status(request: Request) -> Response:
    return Response(status_code=int(request.path_params["code"]))


async def streaming(request: Request) -> Response:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1, 6):
            yield str(number)
            if number != 5:
                yield ", "

    def plain() -> Iterator[str]:
        yield from ("a", "b", "c")

    background = BackgroundTask(events.append, "streamed")
    if "plain" in request.query_params:
        return StreamingResponse(plain(), media_type="text/plain")
    return StreamingResponse(numbers(), media_type="text/plain", background=background)


async def fixed(_request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"12345"
        yield b"67890"

    return StreamingResponse(pieces(), headers={"content-length": "10"})


async def file(_request: Request) -> Response:
    return FileResponse(__file__, filename="cases é.py")


async def seen(_request: Request) -> Response:
    return JSONResponse(events)


async def wait_for_leaving(request: Request) -> Response:
    try:
        async for _ in request.stream():
            pass
    except ClientDisconnect:
        events.append("left early")
    return PlainTextResponse("stayed")


async def poll_for_leaving(request: Request) -> Response:
    import anyio

    events.append("polling")
    while not await request.is_disconnected():
        await anyio.sleep(0.005)
    events.append("left")
    return PlainTextResponse("not read")


class Tag(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-worker"] = str(os.getpid())
        return response


class Echo(WebSocketEndpoint):
    encoding = "bytes"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-greeting", b"hi")])

    async def on_receive(self, websocket: WebSocket, data: bytes) -> None:
        await websocket.send_bytes(b"bytes: " + data)

    async def on_disconnect(self, _websocket: WebSocket, close_code: int) -> None:
        events.append(f"closed {close_code}")


async def talk(websocket: WebSocket) -> None:
    """Sends its path, then echoes JSON until a message stops it."""
    await websocket.accept()
    await websocket.send_json({"url": str(websocket.url), "params": dict(websocket.query_params)})
    async for message in websocket.iter_json():
        if message == "stop":
            await websocket.close(1001, "Going Away")
            return
        await websocket.send_json({"message": message})


async def subprotocol(websocket: WebSocket) -> None:
    assert websocket["subprotocols"] == ["soap", "wamp"]
    await websocket.accept(subprotocol="wamp")
    await websocket.close()


async def refuse(websocket: WebSocket) -> None:
    await websocket.close(4001)


async def deny(websocket: WebSocket) -> None:
    await websocket.receive()
    await websocket.send_denial_response(Response("not you", status_code=403, headers={"x-why": "because"}))


async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("failed on purpose")


app = Starlette(
    routes=[
        Route("/url{rest:path}", url, methods=["GET", "POST"]),
        Route("/headers", headers),
        Route("/client", client),
        Route("/body", body, methods=["GET", "POST"]),
        Route("/body-twice", body_twice, methods=["POST"]),
        Route("/stream-then-body", stream_then_body, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/cookies", cookies),
        Route("/text", text),
        Route("/raw", raw, middleware=[Middleware(Tag)]),
        Route("/redirect", redirect),
        Route("/status/{code:int}", status),
        Route("/streaming", streaming),
        Route("/fixed", fixed),
        Route("/file", file),
        Route("/seen", seen),
        Route("/wait-for-leaving", wait_for_leaving, methods=["POST"]),
        Route("/poll-for-leaving", poll_for_leaving),
        WebSocketRoute("/echo", Echo),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/subprotocol", subprotocol),
        WebSocketRoute("/refuse", refuse),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/fail", fail),
    ],
    middleware=[Middleware(GZipMiddleware, minimum_size=5_000)],
)
