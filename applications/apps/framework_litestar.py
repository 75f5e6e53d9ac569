"""The pages of conversations.py in Litestar, over ASGI."""

import asyncio
import hashlib
import os
from typing import Annotated, Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.logging import LoggingConfig
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.params import Body
from litestar.response import File, ServerSentEvent, Stream


@get("/hello/{name:str}")
async def hello(name: str, greeting: str = "") -> dict[str, Any]:
    return {"greeting": greeting, "name": name, "pid": os.getpid()}


@post("/upload")
async def upload(
    data: Annotated[dict[str, Any], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, Any]:
    file: UploadFile = data["file"]
    read = await file.read()
    digest = hashlib.sha256(read).hexdigest()
    return {"name": file.filename, "note": data["note"], "size": len(read), "sha256": digest}


@get("/lines")
async def lines() -> Stream:
    async def parts():
        for number in range(200):
            yield f"line {number}\n"

    return Stream(parts(), media_type="text/plain")


@get("/file")
async def file() -> File:
    return File(os.environ["DOWNLOAD"], media_type="application/octet-stream")


@get("/events")
async def events() -> ServerSentEvent:
    async def parts():
        for number in range(5):
            yield f"event {number}"
            await asyncio.sleep(0.01)

    return ServerSentEvent(parts())


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            received = await socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            if received.get("text") is not None:
                await socket.send_text(f"echo {received['text']}")
            else:
                await socket.send_bytes(received["bytes"][::-1])
    except WebSocketDisconnect:
        pass


@get("/counter")
async def counter(request: Request[Any, Any, Any]) -> dict[str, int]:
    visits = request.session.get("visits", 0) + 1
    request.set_session({"visits": visits})
    return {"visits": visits}


@get("/fails")
async def fails() -> None:
    raise RuntimeError("meant to fail")


application = Litestar(
    [hello, upload, lines, file, events, echo, counter, fails],
    middleware=[CookieBackendConfig(secret=b"0123456789abcdef").middleware],
    request_max_body_size=None,
    logging_config=LoggingConfig(log_exceptions="always", disable_stack_trace={404, 405}),
)
