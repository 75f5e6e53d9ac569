"""A server that is told to end while a worker of it starts: `how` says what the startup does.

Each step is a line in the file `done`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
from typing import Any

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer

HOW = PARAMETERS.get("how", "waits")


def note(what: str) -> None:
    with open("done", "a") as file:
        file.write(f"{what}\n")


def note_later(what: str) -> None:
    time.sleep(0.2)
    note(what)


def begin() -> None:
    """What every startup begins, and its end owes."""
    atexit.register(note, "atexit")
    threading.Thread(target=note_later, args=("thread",)).start()
    note(f"begun {os.getpid()}")


def block() -> None:
    if HOW == "retries":
        while True:
            with contextlib.suppress(Exception):
                time.sleep(600)
    if HOW == "waits for another thread":  # without a limit: the system would restart such a call
        threading.Event().wait()
    if HOW == "blocks and cleans up":
        try:
            time.sleep(600)
        finally:
            time.sleep(0.3)
            note("cleaned up")
    time.sleep(600)


async def start_up() -> None:
    begin()
    match HOW:
        case "waits":
            while not os.path.exists("told"):
                await asyncio.sleep(0.01)
        case "waits and blocks":
            while not os.path.exists("told"):
                time.sleep(0.01)
        case "hangs":
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(0.05)
                note("cancelled")
        case "fails":
            while not os.path.exists("told"):
                await asyncio.sleep(0.01)
            raise ValueError("no database")
        case _:
            block()
    note("started")


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await start_up()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        note("shut down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})


def worker_start() -> None:
    """It blocks by its nature."""
    if PARAMETERS.get("where") == "hook":
        begin()
        if HOW == "waits":
            while not os.path.exists("told"):
                time.sleep(0.01)
        else:
            block()
        note("started")


def worker_exit() -> None:
    note("worker_exit")


server = PreForkServer(Kernel(), fork_handlers={"DB": "connect", "CACHE": "warm"})
server.handle("^/")(lambda: "ok")
server.kernel.session("DB", {"connect": start_up, "_stop": lambda: note("_stop")})
server.kernel.session("CACHE", {"warm": lambda: note("warm")})
