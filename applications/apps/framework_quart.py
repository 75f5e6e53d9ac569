"""The pages of conversations.py in Quart, over ASGI. Its lifespan writes to the file LIFESPAN."""

from __future__ import annotations

import asyncio
import hashlib
import os

from quart import Quart, Response, request, send_file, session, websocket

application = Quart(__name__)
application.secret_key = "a secret of the checks"


def note(text):
    with open(os.environ["LIFESPAN"], "a") as file:
        file.write(f"{text} {os.getpid()}\n")


@application.before_serving
async def begins():
    note("begins")


@application.after_serving
async def ends():
    note("ends")


@application.get("/hello/<name>")
async def hello(name):
    return {"greeting": request.args.get("greeting"), "name": name, "pid": os.getpid()}


@application.post("/upload")
async def upload():
    file = (await request.files)["file"]
    data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    return {
        "name": file.filename,
        "note": (await request.form)["note"],
        "size": len(data),
        "sha256": digest,
    }


@application.get("/lines")
async def lines():
    async def parts():
        for number in range(200):
            yield f"line {number}\n".encode()

    return parts(), {"Content-Type": "text/plain"}


@application.get("/file")
async def file():
    return await send_file(os.environ["DOWNLOAD"], mimetype="application/octet-stream")


@application.get("/events")
async def events():
    async def parts():
        for number in range(5):
            yield f"data: event {number}\n\n".encode()
            await asyncio.sleep(0.01)

    response = Response(parts(), content_type="text/event-stream")
    response.timeout = None
    return response


@application.websocket("/echo")
async def echo():
    while True:
        received = await websocket.receive()
        await websocket.send(f"echo {received}" if isinstance(received, str) else received[::-1])


@application.get("/counter")
async def counter():
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}


@application.get("/later")
async def later():
    async def work():
        await asyncio.sleep(0.05)
        note("worked")

    application.add_background_task(work)
    return "begun"


@application.get("/fails")
async def fails():
    raise RuntimeError("meant to fail")
