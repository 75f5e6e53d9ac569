"""A server with a mold, for tests that disturb it: its processes, and what they leave behind."""

from __future__ import annotations

import contextlib
import itertools
import re
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.processes import alive, children
from support.server import Server, start_server, write_app
from support.waiting import wait_until

APP = """
import ctypes, os
MOLD = os.getpid()
of_libraries = []
def at_fork_of_library(function):
    of_libraries.append(ctypes.CFUNCTYPE(None)(function))
    ctypes.CDLL(None)["__register_atfork"](of_libraries[-1], None, None, None)
def in_between():
    return os.getpid() != MOLD
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"first %d" % os.getpid()]
"""
WORKERS = 3

sizes = itertools.count(1)


@contextlib.contextmanager
def start(directory: Path, *flags: str, workers: int = WORKERS, **settings: Any) -> Iterator[Server]:
    """Starts a server on the application that is there, and does not wait until it serves."""
    place = ("--bind", "127.0.0.1:0", "--workers", f"{workers}")
    server = start_server("app.py", *place, *flags, cwd=directory, **settings)
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def serving(directory: Path, *flags: str, **settings: Any) -> Iterator[Server]:
    """A whole pool."""
    write(directory)
    with start(directory, *flags, **settings) as server:
        server.wait_serving()
        wait_full(server)
        yield server


def write(directory: Path, more: str = "") -> None:
    """The application, with more at its end. Its size is another one each time, or the interpreter would take
    a change within a second for none.
    """
    write_app(directory, f"{APP}{more}\n{'#' * next(sizes)}\n")


def molds(server: Server) -> list[int]:
    workers = server.workers()
    return [pid for pid in children(server.pid) if pid not in workers and alive(pid)]


def wait_full(server: Server, workers: int = WORKERS) -> None:
    """A whole pool, which is at rest: each child is a worker or the mold."""

    def is_full() -> bool:
        return (
            len(server.workers("spare", "active")) == workers
            and len(server.workers()) == workers
            and len(children(server.pid)) == workers + 1
            and len(molds(server)) == 1
        )

    wait_until(is_full, f"{workers} workers and a mold")


def open_files(pid: int) -> Counter[str]:
    """What a process has open beside its standard streams and copies of them, by kind."""
    entries = Path(f"/proc/{pid}/fd")
    standard = {str((entries / name).readlink()) for name in "012"}
    found: Counter[str] = Counter()
    for entry in entries.iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            found[target.partition("[")[0]] += target not in standard
    return found


def open_files_at_rest(pid: int) -> Counter[str]:
    """The same when it does not change: one that has just responded closes the connection a moment later."""
    found: Counter[str] = Counter()

    def is_at_rest() -> bool:
        nonlocal found
        before, found = found, open_files(pid)
        return before == found

    wait_until(is_at_rest, "a process at rest")
    return found


def watches_its_children(pid: int) -> bool:
    """Whether the manager has a descriptor for each child: a worker may be ready before that."""
    watched = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            watched.update(re.findall(r"^Pid:\s+(\d+)$", entry.read_text(), re.MULTILINE))
    return {int(child) for child in watched} == set(children(pid))


def descriptors_at_rest(server: Server, workers: int) -> int:
    """How many the manager has open when so many workers are spare, and it has one for each child."""
    wait_until(lambda: len(server.workers("spare")) == workers, "its spares")
    wait_until(lambda: watches_its_children(server.pid), "a descriptor for each child")
    return server.descriptors()


@contextlib.contextmanager
def leaving_nothing(server: Server, log: Path | None = None) -> Iterator[None]:
    """Checks that in the end the processes are as many as before, and that none has more open.

    Less can be open: before, the manager may still have been about to close a connection. A worker opens its
    access log, `log`, when it writes its first line.
    """
    once = Counter([str(log)])

    def held() -> list[Counter[str]]:
        def of_each() -> list[Counter[str]]:
            (mold,) = molds(server)
            worker = min(server.workers())
            with contextlib.suppress(FileNotFoundError):  # the worker has just been replaced
                return [open_files_at_rest(pid) for pid in (server.pid, mold, worker)]
            return []

        return wait_until(of_each, "processes that stay")

    server.wait_idle()
    wait_until(lambda: watches_its_children(server.pid), "a manager at rest")
    before = held()
    yield
    wait_full(server)
    server.wait_idle()

    def left() -> dict[str, Counter[str]]:
        wait_until(lambda: len(molds(server)) == 1, "one mold alone")  # that of a reload may be ending
        processes = zip(("manager", "mold", "worker"), before, held(), strict=True)
        more = {name: now - then for name, then, now in processes if now - then}
        return {name: files for name, files in more.items() if (name, files) != ("worker", once)}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not left())
    assert left() == {}, left()


def hang_up(server: Server) -> None:
    server.signal(signal.SIGHUP)


def errors(server: Server) -> list[str]:
    return [line for line in server.err if " ERROR " in line]


HOOK = "os.register_at_fork({when}=lambda: {what})"
"""A function of the application at its forks."""
LIBRARY = "at_fork_of_library(lambda: {what})"
"""As libraries in C have functions called before a fork (pthread_atfork): in the process between."""
SLEEP = "__import__('time').sleep(99)"


def descendants(pid: int) -> set[int]:
    found = set(children(pid))
    return found.union(*map(descendants, found))


@contextlib.contextmanager
def limited(pid: int, what: int, most: int) -> Iterator[None]:
    """A process that may have no more of a resource (getrlimit(2))."""
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, (soft, hard))


def of_manager(server: Server) -> int:
    return server.pid


def of_mold(server: Server) -> int:
    return molds(server)[0]
