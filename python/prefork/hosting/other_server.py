"""A target that runs another server while it is loaded, as `app.run()` at the end of a module does.

Its loading would never end, without a word. A thread looks at what the loading thread does; once it finds
that thread inside another server that has a socket, in the same line of the target as a second before, it
ends the process with one line. Nothing has begun to serve at that time.
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
from collections.abc import Container, Iterator
from functools import cache
from types import FrameType
from typing import NamedTuple

from prefork.logs.formats import outside

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


MODULES = frozenset({"django.core.management.commands.runserver", "django.utils.autoreload"})
"""Modules that serve, of packages that do more."""


class Line(NamedTuple):
    """A line of the target that runs a server. `place` is empty if the server has a stack of its own, without
    the line, as gevent has.
    """

    place: str
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
        start_new_thread(_watch, (place, get_ident(), loading, watching, own_sockets(pid)))
    except RuntimeError:  # the system has no thread left: it is loaded unwatched
        watching.release()
    try:
        yield
    finally:
        loading.release()
        if os.getpid() == pid:  # a child that the target forks has no such thread
            watching.acquire()  # the thread has released it and ends: none may exist at a fork


def _watch(
    place: str, watched: int, loading: LockType, watching: LockType, own: Container[tuple[int, str]]
) -> None:
    try:
        _look(place, watched, loading, own)
    finally:
        watching.release()


def _look(place: str, watched: int, loading: LockType, own: Container[tuple[int, str]]) -> None:
    seen: Line | None = None
    while not loading.acquire(timeout=INTERVAL_S):
        frame = sys._current_frames().get(watched)
        line = None if frame is None else serving_line(frame)
        if line is not None and line == seen:
            for found in bound_addresses():
                if found not in own:
                    _end(f"{line.place or place} runs {line.server} on {found[1]} while {place} is loaded")
        seen = line
        del frame  # its variables must not outlive the loading


def serving_line(frame: FrameType | None) -> Line | None:
    """The innermost line of the user's code, if it has called a server."""
    server = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not LIBRARIES.match(file):
            return Line(f"{file}:{frame.f_lineno}", server) if server else None
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        server = package if package in SERVERS or module in MODULES else server
        frame = frame.f_back
    return Line("", server) if server else None


@cache
def own_sockets(_pid: int) -> frozenset[tuple[int, str]]:
    """Those that the process had before it loaded anything. They are of no other server."""
    return frozenset(bound_addresses())


def bound_addresses() -> Iterator[tuple[int, str]]:
    """The sockets of this process for clients: inode and address of each.

    They need not listen: a server that starts processes may have these listen.
    """
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:  # no descriptor is left to look with
        return
    for name in names:
        with contextlib.suppress(OSError):
            found = os.stat(f"/proc/self/fd/{name}")
            if stat.S_ISSOCK(found.st_mode) and (address := _address(int(name))):
                yield found.st_ino, address


def _address(descriptor: int) -> str | None:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        if one.type != socket.SOCK_STREAM or _is_connected(one):
            return None
        address = one.getsockname()
        if isinstance(address, tuple):
            return ":".join(map(str, address[:2])) if address[1] else None
        return str(address) if address else None


def _is_connected(one: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        one.getpeername()
        return True
    return False


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
    os.write(2, outside(f"{text}; {hint}"))
    os._exit(2)
