"""Workers that end as soon as they are ready: the others serve on, and no processor is spent on forks."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.molds import WORKERS, errors, leaving_nothing, start, wait_full
from support.server import Server, write_app
from support.waiting import wait_until

APP = """
import ctypes, os, signal, threading, time
DESCRIPTORS = range(3, 64)

def close_all():
    for number in DESCRIPTORS:
        try:
            os.close(number)
        except OSError:
            pass

ENDS = {
    "exit": lambda: os._exit(4),
    "exit without an error": lambda: os._exit(0),
    "crash": lambda: ctypes.string_at(0),
    "broken": lambda: (close_all(), os.kill(os.getpid(), signal.SIGTERM)),
    "stop": lambda: os.kill(os.getpid(), signal.SIGTERM),
}

def begin():
    try:
        with open("fail") as file:
            end = ENDS[file.read()]
    except FileNotFoundError:
        return
    threading.Timer(0.02, end).start()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/crash":
        ctypes.string_at(0)
    return [b"first %d" % os.getpid()]
"""
BRAKED = "ended as soon as they were ready"
MANY = 16
"""More workers than a reload replaces before the first new one ends."""


@contextlib.contextmanager
def serving(directory: Path, *flags: str, workers: int = WORKERS) -> Iterator[Server]:
    write_app(directory, APP)
    with start(directory, "--worker-start", "app:begin", *flags, workers=workers) as server:
        server.wait_serving()
        wait_full(server, workers)
        yield server


def forked(server: Server) -> int:
    count: int = server.status()["manager"]["forked"]
    return count


def forked_within(server: Server, seconds: float) -> int:
    """How many workers are forked in that time."""
    before, until = forked(server), time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, "a while")
    return forked(server) - before


@pytest.mark.parametrize("end", ["exit", "exit without an error", "crash", "broken", "stop"])
def test_a_loop_of_crashes_is_braked_until_workers_live_again(tmp_path: Path, end: str) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        victim, *others = server.workers()
        (tmp_path / "fail").write_text(end)
        before = forked(server)
        os.kill(victim, signal.SIGKILL)
        assert f"going on with {WORKERS - 1}" in server.wait_log(BRAKED)
        assert forked(server) - before <= 4
        assert forked_within(server, 1.6) <= 5, "after 0.1 s, 0.2 s, 0.4 s ..."
        assert set(others) <= set(server.workers())
        assert {int(server.get().split()[1]) for _ in range(5)} <= set(server.workers())
        (tmp_path / "fail").unlink()
        server.wait_log("a worker lives again")
        wait_full(server)
        assert len([line for line in errors(server) if BRAKED in line]) == 1
        assert end == "broken" or "Traceback" not in server.log


def test_requests_that_crash_each_worker_make_no_storm_of_forks(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        stopped = threading.Event()

        def crash() -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError), server.connect(5.0) as sock:
                    sock.sendall(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
                    sock.recv(100)

        clients = [threading.Thread(target=crash) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            server.wait_log(BRAKED)
            assert forked_within(server, 2.0) <= 6
        finally:
            stopped.set()
            for client in clients:
                client.join()
        wait_full(server)
        assert server.get().startswith(b"first")
        assert server.stop() == 0


def test_a_single_crash_is_replaced_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        for _ in range(3):
            with contextlib.suppress(OSError):
                server.raw(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_full(server)
        assert BRAKED not in server.log
        wait_until(lambda: len(errors(server)) == 3, "the third is told of")


def test_a_server_of_which_each_worker_ends_at_once_is_not_given_up(tmp_path: Path) -> None:
    """They were ready: that it may be mended is for the operator to say."""
    (tmp_path / "fail").write_text("exit")
    write_app(tmp_path, APP)
    with start(tmp_path, "--worker-start", "app:begin", "--boot-failures", "1") as server:
        server.wait_log(BRAKED)
        (tmp_path / "fail").unlink()
        server.wait_serving()
        wait_full(server)
        assert server.stop() == 0


def test_a_reload_brings_code_whose_workers_crash_and_the_old_ones_serve_on(tmp_path: Path) -> None:
    with serving(tmp_path, workers=MANY) as server:
        old = server.workers()
        (tmp_path / "fail").write_text("crash")
        server.signal(signal.SIGHUP)
        server.wait_log(BRAKED)
        assert set(old) & set(server.workers()), "the policy retires one for each that is ready"
        assert server.get().startswith(b"first")
        (tmp_path / "fail").unlink()
        server.wait_log("every worker is of generation 2", deadline_s=30)
        wait_full(server, MANY)
        assert server.stop() == 0
