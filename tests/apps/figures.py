"""Responses whose status and time the request names: `/500`, and `/200/0.05` for one that takes 50 ms.

As events, WSGI and ASGI. `/fails` raises. `/200/0/parts/0.05` sends a part, and the rest 50 ms later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

from prefork import Kernel, PreForkServer, Request, Response

kernel = Kernel()
server = PreForkServer(kernel, address="127.0.0.1", port=0)


def wanted(path: str) -> tuple[int, float, float | None]:
    """The status, the seconds before the response, and those between the parts of its body."""
    if path == "/fails":
        raise RuntimeError("as it was asked to")
    path, _, between = path.strip("/").partition("/parts/")
    status, _, seconds = path.partition("/")
    return int(status or 200), float(seconds or 0), float(between) if between else None


@server.handle(r".*")
def respond(request: Request, response: Response) -> None:
    response.code, seconds, between = wanted(request.path)
    time.sleep(seconds)
    if between is not None:
        response.write(b"part")
        response.flush()
        time.sleep(between)
    response.done()


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    status, seconds, between = wanted(environ["PATH_INFO"])
    environ["wsgi.input"].read()
    time.sleep(seconds)
    start_response(f"{status} As Asked", [])
    return [b""] if between is None else parts(between)


def parts(between: float) -> Iterator[bytes]:
    yield b"part"
    time.sleep(between)
    yield b"rest"


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    status, seconds, between = wanted(scope["path"])
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(seconds)
    await send({"type": "http.response.start", "status": status, "headers": []})
    if between is not None:
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.sleep(between)
    await send({"type": "http.response.body"})
