"""Applications that make something at their first requests, and tell which process has made it.

`/`: the process, and who has made the cache. PARAMETERS says what a request begins besides.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from parameters import PARAMETERS

begins = PARAMETERS.get("begins", "")
entries = PARAMETERS.get("entries", 10)
cache: dict[int, tuple[int, str]] = {}
opened: list[Any] = []
told: list[str] = []
lock = asyncio.Lock()


def hear(_signum: int, _frame: object) -> None:
    told.append("TERM")


signal.signal(signal.SIGTERM, hear)
atexit.register(lambda: sys.stderr.write(f"{os.getpid()} is over\n"))


def make() -> bytes:
    if not cache:
        cache.update((number, (os.getpid(), str(number) * 100)) for number in range(entries))
        begin()
    pid, _ = cache[0]
    found = {"pid": os.getpid(), "maker": pid, "told": told, "locked": lock.locked()}
    return json.dumps(found).encode()


def begin() -> None:
    if begins == "thread":
        threading.Thread(target=threading.Event().wait, name="of-the-shop", daemon=True).start()
    elif begins == "socket":
        opened.append(socket.socketpair())
    elif begins == "process":
        opened.append(subprocess.Popen(["/bin/sleep", "60"]))


def descriptors_of_a_child() -> bytes:
    """What a child has open that this process has forked."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        links = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the list itself
                links.append(os.readlink(f"/proc/self/fd/{name}"))
        os.write(writer, json.dumps(links).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with open(reader, "rb") as file:
        return file.read()


def close() -> None:
    """For --mold-ready."""
    if cache and begins == "fails":
        raise RuntimeError("nothing is closed")
    told.append(f"closed by {os.getpid()}")
    while opened:
        for one in opened.pop():
            one.close()


def ends(pid: int) -> None:
    """For --worker-exit."""
    told.append(f"{pid} exits")
    sys.stderr.write(f"{pid} exits\n")  # at once: others write there


def wsgi(environ, start_response):
    body = make()
    if environ["PATH_INFO"] == "/slow":
        time.sleep(PARAMETERS["slow_s"])
    if environ["PATH_INFO"] == "/forks":
        body = descriptors_of_a_child()
    if environ["PATH_INFO"] == "/ready" and (maker := cache[0][0]) != os.getpid() and begins == "fails":
        raise RuntimeError(f"the cache of {maker} is no good")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        scope["state"].setdefault("began", f"{len(told)}:{os.getpid()}")
        for phase in ("startup", "shutdown"):
            await receive()
            told.append(f"{phase} of {os.getpid()}")
            await send({"type": f"lifespan.{phase}.complete"})
        return
    async with lock:
        await asyncio.sleep(0.001)  # others wait for the lock, which then belongs to this loop
    body = json.loads(make()) | {"began": scope["state"]["began"]}
    await asyncio.to_thread(len, cache)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
