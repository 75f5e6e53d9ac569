"""The end of the process that `prefork serve` starts: what it still does is not cut short by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.server import Server, running, start_program, start_server
from support.waiting import wait_until

APP = APPS / "ends_slowly.py"
POOLS = pytest.mark.parametrize("pool", [("--workers", "1"), ("--start", "0")], ids=["pool", "alone"])
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
ANY = (*ENDING, signal.SIGHUP, signal.SIGUSR1)


@contextlib.contextmanager
def ending(directory: Path, where: str, *flags: str) -> Iterator[Server]:
    """A server that was told to end, and has come to that step."""
    arguments = (str(APP), "--bind", "127.0.0.1:0", "--pid-file", "pid", *flags)
    with running(*arguments, parameters={"where": where}, cwd=directory) as server:
        server.signal(signal.SIGTERM)
        wait_until(lambda: where in server.out, f"its end to come to {where}")
        yield server


@POOLS
@pytest.mark.parametrize("where", ["_stop", "atexit", "thread"])
def test_signals_have_no_effect_on_what_ends_soon(tmp_path: Path, where: str, pool: tuple[str, ...]) -> None:
    # Without a pool SIGHUP is not the server's.
    signals = ANY if "--workers" in pool else (*ENDING, signal.SIGUSR1)
    with ending(tmp_path, where, *pool) as server:
        if where == "thread":  # it began before: the loop has to be closed
            wait_until(lambda: not (tmp_path / "pid").exists(), "the end of the run")
        for signum in signals:
            server.signal(signum)
        (tmp_path / "told").touch()
        assert server.wait() == 0
        assert "whole" in server.out
        assert not (tmp_path / "pid").exists()
        assert "Traceback" not in server.log


@POOLS
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_a_server_that_is_about_to_open_its_sockets_ends(
    tmp_path: Path, pool: tuple[str, ...], signum: int
) -> None:
    arguments = (str(APP), "--bind", "127.0.0.1:0", *pool)
    server = start_server(*arguments, parameters={"where": "on_start"}, cwd=tmp_path)
    try:
        wait_until(lambda: "on_start" in server.out, "its start")
        server.signal(signum)
        assert server.wait() == 0
        assert "up" not in server.out
        assert "Traceback" not in server.log
    finally:
        server.kill()


@POOLS
@pytest.mark.parametrize("where", ["atexit", "thread"])
@pytest.mark.parametrize("signum", ENDING)
def test_a_further_signal_ends_what_is_stuck(
    tmp_path: Path, where: str, pool: tuple[str, ...], signum: int
) -> None:
    with ending(tmp_path, where, *pool) as server:
        wait_until(lambda: not (tmp_path / "pid").exists(), "the end of the run")
        server.signal(signum)
        server.signal(signum)
        assert server.wait() == 0
        assert "whole" not in server.out
        assert "Traceback" not in server.log


@POOLS
def test_a_task_that_refuses_to_end_is_left_after_graceful_timeout(
    tmp_path: Path, pool: tuple[str, ...]
) -> None:
    with ending(tmp_path, "task", "--graceful-timeout", "0.5", *pool) as server:
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 10
        assert "1 tasks of the application did not end in time" in server.log
        assert "Traceback" not in server.log


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_program_that_goes_on_after_its_run_has_the_signals_again(tmp_path: Path, signum: int) -> None:
    server = Server(start_program(str(APP), cwd=tmp_path))
    try:
        wait_until(lambda: "up" in server.out, "the server")
        server.signal(signal.SIGTERM)
        wait_until(lambda: "after" in server.out, "the end of the run")
        server.signal(signum)
        assert server.wait() == -signum
    finally:
        server.kill()


def test_a_server_that_stops_does_not_say_that_it_replaces_workers(tmp_path: Path) -> None:
    with running(
        f"{APPS / 'endings.py'}:asgi", "--bind", "127.0.0.1:0", "--workers", "1", cwd=tmp_path
    ) as server:
        (worker,) = server.workers()
        with stopped(worker):
            server.signal(signal.SIGTERM)
            server.wait_log("SIGTERM: stopping")
            server.signal(signal.SIGHUP)
            server.wait_log("HUP changes nothing: the server is stopping")
        assert server.wait() == 0
        assert "replacing" not in server.log


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
