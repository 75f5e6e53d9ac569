"""Notes how connections end. With the parameter `forget` it keeps no notes."""

from __future__ import annotations

import asyncio
import json

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel

kernel = Kernel()
troubles = []
notes: list[str] = []


def note(text):
    if not PARAMETERS.get("forget"):
        notes.append(text)


server = HTTPServer(kernel, error_handler=lambda *about: troubles.append(about))


@server.handle(r"^/troubles$")
def reported():
    return json.dumps(troubles)


@server.handle(r"^/notes$")
def noted():
    return json.dumps(notes)


@server.handle(r"^/wait$")
async def wait(response):
    connection = response.connection
    note(f"alive {connection.dead}")
    while not connection.dead:
        await asyncio.sleep(0.005)
    note("dead")
    response.content = "unread"
    response.done()


@server.handle(r"^/stream$")
async def stream():
    try:
        while True:
            yield b"x" * 10_000
    finally:
        note("closed")


@server.handle(r"^/huge$")
def huge():
    return b"x" * 50_000_000


@server.handle(r"")
def any_path(request):
    note(request.path)
    return request.content
