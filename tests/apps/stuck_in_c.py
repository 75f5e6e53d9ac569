"""A worker that is stuck in C, and that no parent-death signal reaches, as after a change of its user."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

PR_SET_PDEATHSIG = 1
LONG_S = 600

libc = ctypes.CDLL(None)
keeps_gil = ctypes.PyDLL(None)


def sleep(path: str) -> None:
    print("at", path, flush=True)
    keeps_gil.sleep(LONG_S)


def begin(path: str) -> bytes:
    libc.prctl(PR_SET_PDEATHSIG, 0)
    match path:
        case "/stuck":
            sleep(path)
        case "/thread":
            threading.Timer(0.1, sleep, (path,)).start()
        case _:
            print("at", path, flush=True)
    return b"idle"


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    content = begin(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", f"{len(content)}")])
    return [content]


async def early(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Changes its user while it starts up, and is stuck in each request."""
    if scope["type"] == "lifespan":
        await receive()
        libc.prctl(PR_SET_PDEATHSIG, 0)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    else:
        sleep(scope["path"])


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    content = begin(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})
