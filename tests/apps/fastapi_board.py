"""A small FastAPI application: JSON, a stream, server-sent events, an upload, a WebSocket, a lifespan."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, UploadFile, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

done: list[str] = []


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, object]]:
    await asyncio.sleep(0)
    yield {"worker": os.getpid()}


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = 0.0


def page(limit: int = 10) -> int:
    return limit


@app.get("/items/{number}")
async def item(number: int, limit: Annotated[int, Depends(page)]) -> dict[str, int]:
    return {"number": number, "limit": limit}


@app.post("/items", status_code=201)
async def add(item: Item) -> Item:
    return item


@app.get("/sync")
def sync(request: Request) -> dict[str, object]:
    """A plain function: Starlette runs it in a thread."""
    return {"worker": request.state.worker, "pid": os.getpid()}


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "not here", headers={"X-Reason": "none"})


@app.get("/broken")
async def broken() -> None:
    raise RuntimeError("broken on purpose")


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, object]:
    size = 0
    while piece := await file.read(1 << 20):
        size += len(piece)
    return {"name": file.filename, "size": size, "note": note}


@app.post("/measure")
async def measure(request: Request) -> dict[str, int]:
    size = pieces = 0
    async for piece in request.stream():
        size += len(piece)
        pieces += 1
    return {"size": size, "pieces": pieces}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def make() -> AsyncIterator[bytes]:
        for number in range(5):
            yield f"piece {number}\n".encode()
            await asyncio.sleep(0.001)

    return StreamingResponse(make(), media_type="text/plain")


@app.get("/events")
async def events() -> StreamingResponse:
    async def make() -> AsyncIterator[str]:
        for number in range(3):
            yield f"id: {number}\ndata: tick\n\n"
            await asyncio.sleep(0.001)

    return StreamingResponse(make(), media_type="text/event-stream")


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)


@app.get("/later")
async def later(background: BackgroundTasks) -> str:
    background.add_task(done.append, "done")
    return "soon"


@app.get("/done")
async def get_done() -> list[str]:
    return done


@app.websocket("/ws/{room}")
async def room(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    try:
        async for text in websocket.iter_text():
            if text == "leave":
                await websocket.close(4000, "bye")
                return
            await websocket.send_text(f"{room}: {text}")
    except WebSocketDisconnect:
        pass
