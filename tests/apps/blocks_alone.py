"""Calls that block the loop of their process: as a WSGI and an ASGI application and as a handler."""

from __future__ import annotations

import asyncio
import threading
import time

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer

SECONDS = 60


def block(path):
    open(PARAMETERS["begun"], "w").close()
    if path == "/sleeps":
        try:
            time.sleep(SECONDS)
        finally:
            time.sleep(0.2)
            print("cleaned up", flush=True)
    elif path == "/waits":
        threading.Event().wait()  # without a limit: the system would restart such a call
    elif path == "/loops":
        asyncio.run(asyncio.sleep(SECONDS))
    elif path == "/tries":
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            try:
                time.sleep(1)
            except Exception:
                continue


def wsgi(environ, start_response):
    block(environ["PATH_INFO"])
    start_response("204 No Content", [])
    return []


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        block(scope["path"])
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})


kernel = Kernel()
server = PreForkServer(kernel)


@server.handle("^/")
def blocks(request):
    block(request.path)
    return "done"
