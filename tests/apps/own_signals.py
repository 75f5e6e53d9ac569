"""An application with a handler of TERM and INT of its own, on which its streams end.

The parameter `how` says when and how it is set; `then` is what the handler does next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from parameters import PARAMETERS

HOW, THEN = PARAMETERS["how"], PARAMETERS.get("then", "return")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
heard: list[int] = []
former = signal.getsignal(signal.SIGTERM)


def handle(signum: int, frame: Any) -> None:
    os.write(1, b"heard\n")
    heard.append(signum)  # no Event: its lock may be held by what is interrupted
    match THEN:
        case "exit":
            sys.exit(5)
        case "chain" if callable(former):
            former(signum, frame)
        case "former":
            signal.signal(signum, former)
            os.kill(os.getpid(), signum)
        case "default":
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        case "fail":
            raise ValueError("a fault of the handler")


def begin(how: str) -> None:
    global former
    if how != HOW:
        return
    former = signal.getsignal(signal.SIGTERM)
    for signum in SIGNALS:
        signal.signal(signum, handle)


begin("import")


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        begin("lifespan")
        if HOW == "loop":
            for signum in SIGNALS:
                asyncio.get_running_loop().add_signal_handler(signum, handle, signum, None)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while not heard:
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b" ended"})


def wsgi(_environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    while not heard:
        time.sleep(0.01)
    yield b" ended"
