"""The server as the first process of a container: orphans, and signals that come early.

A child subreaper (prctl(2)) is given orphans as PID 1 is, and needs no privileges.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import children, state
from support.server import Server, running, start_server
from support.waiting import wait_until

APP = APPS / "orphans.py"
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def dead(server: Server) -> list[int]:
    return [pid for pid in children(server.pid) if state(pid) == "Z"]


def test_orphans_are_reaped_and_the_programs_own_children_are_not() -> None:
    arguments = ("orphans:app", "--bind", "127.0.0.1:0", "--workers", "2")
    hook = ("--worker-died", "orphans:worker_died")
    with running(*arguments, *hook, cwd=APPS, preexec_fn=adopt_orphans) as server:
        (own,) = dead(server)[:1]
        for _ in range(5):
            server.get("/")
        wait_until(lambda: len(children(server.pid)) > 5, "orphans")
        wait_until(lambda: dead(server) == [own], "their end")
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_until(lambda: "own 7" in server.out, "the status of the program's own child")
        assert server.stop() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_is_heard_while_the_application_is_loaded(signum: signal.Signals) -> None:
    server = start_server(f"{APP}:app", "--bind", "127.0.0.1:0", parameters={"slow": True})
    try:
        wait_until(lambda: "loading" in server.out, "the application")
        server.signal(signum)
        assert server.wait() == 0
        assert signum.name in server.log
        assert "ERROR" not in server.log
    finally:
        server.kill()


@pytest.mark.parametrize("more", [("--workers", "2"), ("--start", "0")], ids=["pool", "alone"])
def test_quit_is_a_fast_stop(tmp_path: Path, more: tuple[str, ...]) -> None:
    pid_file = tmp_path / "pid"
    arguments = (f"{APP}:app", "--bind", "127.0.0.1:0", "--pid-file", str(pid_file), *more)
    with running(*arguments) as server, server.connect() as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert pid_file.exists()
        server.signal(signal.SIGQUIT)
        assert server.wait() == 0
        assert "SIGQUIT: stopping at once" in server.log
        assert not pid_file.exists()
