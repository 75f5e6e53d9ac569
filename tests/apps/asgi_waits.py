"""An ASGI application whose calls wait: for an event, in Python, or in C with the GIL, to read a pipe."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time

never = asyncio.Event()


async def wait_for_event() -> None:
    await never.wait()


async def wait_for_task() -> None:
    inner = asyncio.create_task(wait_for_event(), name="inner")
    await inner


async def app(scope, receive, send):
    query = scope["query_string"].decode()
    match scope["path"]:
        case "/event":
            await wait_for_event()
        case "/task":
            if (task := asyncio.current_task()) is not None:
                task.set_name("a name\nof \x1b[31mtwo lines")
            await wait_for_task()
        case "/sleeps":
            time.sleep(float(query))
        case "/native":
            # From a pipe: signals do not end it, and no handler in Python runs.
            ctypes.PyDLL(None).read(os.open(query, os.O_RDWR), ctypes.create_string_buffer(1), 1)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
