"""Applications that fork a child in a request, and tell what became of it: WSGI, ASGI and events.

The path names what the child does; the response has its exit status, negative for a signal.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer

GRIM = "in the child"


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork(how: Callable[[], int] = os.fork) -> int | None:
    """The status of a child, in its parent; None in the child."""
    pid = how()
    return status_of(pid) if pid else None


def descriptors() -> list[str]:
    """What this process has open, beyond standard input and output."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            what = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # that of the directory
        if what.startswith("socket:"):
            with socket.socket(fileno=os.dup(fd)) as found_socket:
                found.append(found_socket.family.name)
        elif what.startswith(("anon_inode:", "/memfd:")):
            found.append(what)
    return found


def tell(look: Callable[[], Any]) -> Any:
    """What `look` returns in a child."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(look()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        return json.load(stream)


def signalled(signum: int) -> int:
    """The status of a child that gets a signal as soon as it exists."""
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
        os._exit(0)
    os.kill(pid, signum)
    return status_of(pid)


def terminated() -> str:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    process.start()
    process.terminate()
    process.join()
    return f"{process.exitcode}"


def pool() -> str:
    with multiprocessing.get_context("fork").Pool(2) as processes:
        return f"{processes.map(abs, [-1, -2])}"


def started() -> str:
    """What a program that is started ignores, and what SIGINT does to it."""
    command = "grep SigIgn /proc/$$/status; exec sleep 30"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        ignored = int(program.stdout.readline().split()[1], 16)
        program.send_signal(signal.SIGINT)
        return f"{ignored} {program.wait()}"


def left_behind() -> str:
    """A child that lives for a minute, or until it is killed."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return f"{pid}"


def respond(path: str) -> str:
    """What a synchronous handler does. A child returns from it, or raises."""
    match path:
        case "/returns":
            return f"{fork()}"
        case "/raises":
            status = fork()
            if status is None:
                raise ValueError(GRIM)
            return f"{status}"
        case "/exits":
            status = fork()
            if status is None:
                sys.exit(7)
            return f"{status}"
        case "/pty":
            pid, master = pty.fork()
            if pid == 0:
                raise ValueError(GRIM)
            with open(master, "rb", buffering=0) as terminal:
                said = b""
                try:
                    while piece := terminal.read(4096):
                        said += piece
                except OSError:  # the child's side is closed
                    pass
            assert GRIM.encode() in said
            return f"{status_of(pid)}"
        case "/descriptors":
            return json.dumps(tell(descriptors))
        case "/signals":
            return f"{[signalled(signum) for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]}"
        case "/terminated":
            return terminated()
        case "/pool":
            return pool()
        case "/started":
            return started()
        case "/left":
            return left_behind()
    return f"{os.getpid()}"


if PARAMETERS.get("at_import"):
    print([signalled(signum) for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)], flush=True)


# --- WSGI ------------------------------------------------------------------------------------------------


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/body":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body()
    if path == "/none":  # no Content-Length: the end of the connection is the end of the body
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([left_behind().encode()])
    content = respond(path).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", f"{len(content)}")])
    return [content]


def body() -> Iterator[bytes]:
    yield b"status "
    status = fork()
    if status is None:
        raise ValueError(GRIM)
    yield f"{status}".encode()


# --- ASGI ------------------------------------------------------------------------------------------------


async def respond_later(path: str) -> str:
    match path:
        case "/later":  # not in the first step of the task
            await asyncio.sleep(0.01)
            return await respond_later("/raises")
        case "/awaits":
            status = fork()
            if status is None:
                await asyncio.sleep(30)
            return f"{status}"
        case "/own":  # a loop of its own is the child's
            status = fork()
            if status is None:
                asyncio.run(asyncio.sleep(0.01))
                os._exit(5)
            return f"{status}"
        case "/thread":
            return await asyncio.to_thread(respond, "/raises")
    return respond(path)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["status"] = fork()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/lifespan":
        content = f"{scope['state']['status']}".encode()
    else:
        content = (await respond_later(scope["path"])).encode()
    length = [(b"content-length", f"{len(content)}".encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": content})


# --- events ----------------------------------------------------------------------------------------------

kernel = Kernel()
server = PreForkServer(kernel)
told: list[str] = []


def note(path: str) -> None:
    told.append(respond(path))


kernel.session("NOTES", {"note": note})


@server.handle(r"^/post(?P<path>/.*)")
async def post(path: str) -> str:
    """Do it in a posted event, with another one behind it, which is the parent's."""
    told.clear()
    kernel.post("NOTES", "note", path)
    kernel.post("NOTES", "note", "/")
    while len(told) < 2:
        await asyncio.sleep(0.01)
    return told[0]


@server.handle(r"^/task(?P<path>/.*)")
async def task(path: str) -> str:
    return await respond_later(path)


@server.handle(r"^/")
def handler(request: Any) -> str:
    return respond(request.path)
