"""A target that runs another server while it is loaded, as `app.run()` at the end of a module does.

Its loading would never end, without a word. A thread looks at what the loading thread does; once it finds
that thread inside another server that listens, in the same line of the target as a second before, it ends
the process with one line. Nothing has begun to serve at that time.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import sys
from _thread import LockType, allocate_lock, get_ident, start_new_thread
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

INTERVAL_S = 1.0

SERVERS = frozenset(
    {
        *("aiohttp", "asyncio", "bjoern", "bottle", "cheroot", "cherrypy", "daphne", "eventlet", "fastpysgi"),
        *("gevent", "granian", "gunicorn", "http", "hypercorn", "meinheld", "sanic", "socketserver"),
        *("tornado", "twisted", "uvicorn", "uvloop", "waitress", "werkzeug", "wsgiref"),
    }
)
"""Packages that serve. One that serves in a thread, as metrics are served, harms nothing."""

LIBRARIES = re.compile(rf"{re.escape(os.path.dirname(os.__file__))}/|.*/(site|dist)-packages/|<frozen")
"""Files that are no code of the user."""


class Line(NamedTuple):
    """A line of the target that runs a server."""

    file: str
    number: int
    server: str


@contextlib.contextmanager
def refused(place: str) -> Iterator[None]:
    """Ends the process if what is done here runs another server."""
    # The native functions: what `threading` has may be patched by the target.
    loading, watching = allocate_lock(), allocate_lock()
    watching.acquire()
    loading.acquire()
    pid = os.getpid()
    try:
        start_new_thread(_watch, (place, get_ident(), loading, watching))
    except RuntimeError:  # the system has no thread left: it is loaded unwatched
        watching.release()
    try:
        yield
    finally:
        loading.release()
        if os.getpid() == pid:  # a child that the target forks has no such thread
            watching.acquire()  # the thread has released it and ends: none may exist at a fork


def _watch(place: str, watched: int, loading: LockType, watching: LockType) -> None:
    try:
        _look(place, watched, loading)
    finally:
        watching.release()


def _look(place: str, watched: int, loading: LockType) -> None:
    seen: Line | None = None
    while not loading.acquire(timeout=INTERVAL_S):
        frame = sys._current_frames().get(watched)
        line = None if frame is None else serving_line(frame)
        if line is not None and line == seen and (address := listening_address()) is not None:
            _end(f"{line.file}:{line.number} runs {line.server} on {address} while {place} is loaded")
        seen = line
        del frame  # its variables must not outlive the loading


def serving_line(frame: FrameType | None) -> Line | None:
    """The innermost line of the user's code, if it has called a server."""
    server = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not LIBRARIES.match(file):
            return Line(file, frame.f_lineno, server) if server else None
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        server = name if name in SERVERS else server
        frame = frame.f_back
    return None


def listening_address() -> str | None:
    """Where a socket of this process listens; None if none does."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode) and (found := _address(int(name))):
                return found
    return None


def _address(descriptor: int) -> str | None:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        address = one.getsockname()
        return ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *_descendants(child)]
    return found


def _end(text: str) -> None:
    """Ends this process, and the processes that the other server has started."""
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    hint = 'put that under `if __name__ == "__main__":`'
    os.write(2, f"prefork: {text}; {hint}\n".encode(errors="backslashreplace"))
    os._exit(2)
