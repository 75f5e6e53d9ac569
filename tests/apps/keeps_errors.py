"""Applications whose exceptions live until the garbage collector runs, which it does not do here."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from parameters import PARAMETERS

gc.disable()


def keep(error: BaseException) -> None:
    """The traceback has the frames of the call, and with them all that belongs to its request."""
    error.itself = error  # type: ignore[attr-defined]


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            write(b"x" * 65536)
            if environ["PATH_INFO"] == "/fails":
                raise ValueError("in the middle")
    except Exception as error:
        keep(error)
        raise


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise ValueError("no lifespan here")
    try:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            if scope["path"] == "/fails":
                raise ValueError("in the middle")
            await asyncio.sleep(0)
    except Exception as error:
        keep(error)
        raise


app = wsgi if PARAMETERS["interface"] == "wsgi" else asgi
