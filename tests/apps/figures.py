"""Responses whose status and time the request names: `/500`, and `/200/0.05` for one that takes 50 ms.

As events, WSGI and ASGI. `/fails` raises.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from prefork import Kernel, PreForkServer, Request, Response

kernel = Kernel()
server = PreForkServer(kernel, address="127.0.0.1", port=0)


def wanted(path: str) -> tuple[int, float]:
    if path == "/fails":
        raise RuntimeError("as it was asked to")
    status, _, seconds = path.strip("/").partition("/")
    return int(status or 200), float(seconds or 0)


@server.handle(r".*")
def respond(request: Request, response: Response) -> None:
    response.code, seconds = wanted(request.path)
    time.sleep(seconds)
    response.done()


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    status, seconds = wanted(environ["PATH_INFO"])
    environ["wsgi.input"].read()
    time.sleep(seconds)
    start_response(f"{status} As Asked", [])
    return [b""]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    status, seconds = wanted(scope["path"])
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(seconds)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body"})
