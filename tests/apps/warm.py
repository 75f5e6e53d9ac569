"""Applications that count what they are asked, and by which process. `/ready` says what a test has set."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from parameters import PARAMETERS

pool = ThreadPoolExecutor(1)
asked: list[tuple[int, str]] = []


def note(path: str) -> bytes:
    asked.append((os.getpid(), path))
    return json.dumps(asked).encode()


def status_of(path: str) -> int:
    if path in PARAMETERS.get("forks", ()) and (pid := os.fork()):
        note(f"forked {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
    return PARAMETERS.get("ready", 200) if path == "/ready" else 200


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    start_response(f"{status_of(path)} Status", [("Content-Type", "application/json")])
    return [pool.submit(note, path).result(10)]  # hangs if it counts a thread that is not there


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            note(phase)
            await send({"type": f"lifespan.{phase}.complete"})
        return
    body = note(scope["path"])
    await send({"type": "http.response.start", "status": status_of(scope["path"])})
    await send({"type": "http.response.body", "body": body})


def mold_ready():
    note("mold_ready")
