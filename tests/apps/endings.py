"""What a worker owes at its end: threads, executors, `atexit` functions, finalizers, child processes, hooks.

Each writes a line to the file `done`. The path of a request says what it begins.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from prefork import Kernel, PreForkServer, Request

LOADER = os.getpid()
executor = concurrent.futures.ThreadPoolExecutor(2)
kept: list[Any] = []


def note(what: str) -> None:
    with open("done", "a") as file:
        file.write(f"{what}\n")


atexit.register(lambda: note(f"exit of {'the manager' if os.getpid() == LOADER else 'a worker'}"))


def note_later(what: str) -> None:
    time.sleep(0.3)
    note(what)


def note_when_told(what: str) -> None:
    while not os.path.exists("told"):
        time.sleep(0.01)
    note(what)


def end_a_child() -> None:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join(10)
    note(f"child {process.exitcode}")


def fork_a_child() -> None:
    if pid := os.fork():
        note(f"forked {pid}")


def fail_with_a_program() -> None:
    atexit.register(note, "atexit")
    note(f"program {subprocess.Popen(['sleep', '600']).pid}")
    raise ValueError("no database")


def start_when_told(pid: int) -> None:
    note(f"starting {pid}")
    note_when_told("started")


def square(number: int) -> int:
    return number * number


def begin(path: str) -> str:
    match path:
        case "/threads":
            threading.Thread(target=note_later, args=("thread",)).start()
        case "/until-told":
            threading.Thread(target=note_when_told, args=("thread",)).start()
        case "/executor":
            executor.submit(note_later, "job")
        case "/stuck":
            threading.Thread(target=time.sleep, args=(600,)).start()
            atexit.register(note, "atexit")
        case "/stuck-job" | "/stuck-task" | "/stuck-generator":
            atexit.register(note, "atexit")
        case "/child-at-exit":
            atexit.register(end_a_child)
        case "/loop":
            asyncio.run(handle_a_signal())
        case "/atexit":
            atexit.register(note, "atexit")
            kept.append(tempfile.TemporaryDirectory())
            return str(kept[-1].name)
        case "/daemon":
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
            process.start()
            kept.append(process)
            return f"{process.pid}"
        case "/pool":
            kept.append(concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork")))
            return f"{kept[-1].submit(os.getpid).result()}"
        case "/fork":
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
            return f"{pid}"
        case "/program":
            kept.append(subprocess.Popen(["sleep", "600"]))
            return f"{kept[-1].pid}"
        case "/detached":
            null = subprocess.DEVNULL  # it holds no pipe of the server open
            kept.append(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=null, stderr=null))
            return f"{kept[-1].pid}"
    return f"{os.getpid()}"


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    content = begin(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", f"{len(content)}")])
    return [content]


async def refuse_to_end() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)


async def handle_a_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, note, "signal")


async def suspended() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        await asyncio.sleep(600)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        note("lifespan")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/to-thread":
        job = asyncio.get_running_loop().run_in_executor(None, note_later, "job of the loop")
        kept.append(job)
    if scope["path"] == "/stuck-job":
        kept.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 600))
    if scope["path"] == "/stuck-task":
        kept.append(asyncio.create_task(refuse_to_end()))
    if scope["path"] == "/exit":
        kept.append(asyncio.create_task(refuse_to_end()))
        asyncio.get_running_loop().call_soon(sys.exit, 5)
    if scope["path"] == "/stuck-generator":
        kept.append(suspended())
        await anext(kept[-1])
    content = begin(scope["path"]).encode()
    length = [(b"content-length", f"{len(content)}".encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": content})


server = PreForkServer(Kernel())


@server.handle("^/")
def events(request: Request) -> str:
    return begin(request.path)


def worker_start(pid: int) -> None:
    note(f"start {pid == os.getpid() != LOADER}")


def worker_exit() -> None:
    note("worker_exit")


def worker_died(pid: int, status: int) -> None:
    assert os.getpid() == LOADER
    note(f"died {pid} {status}")


def fails(pid: int) -> None:
    raise ValueError(f"no start of {pid > 0}")


def unknown(server: object) -> None: ...
