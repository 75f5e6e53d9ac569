"""Signals to more processes than the manager, and signals that are not bound: see `docs/signals.md`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from support.apps import APPS
from support.pool import MakePool
from support.processes import wait_ended
from support.responses import read_all, read_response
from support.server import Serve, Server, start_server
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "stopping.py"

Begin = Callable[[], tuple[Server, socket.socket, int]]


@pytest.fixture
def begin(serve: Serve) -> Begin:
    """`begin()` is a server in a process group of its own, a client, and the worker that has its request."""

    def start() -> tuple[Server, socket.socket, int]:
        server = serve(APP, start_new_session=True)
        client = server.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return server, client, wait_until(lambda: busy(server), "the request in a worker")

    return start


def busy(server: Server) -> int:
    return next((worker["pid"] for worker in server.status()["workers"] if worker["in_flight"]), 0)


def test_term_to_manager_and_workers_at_once_is_as_graceful_as_to_the_manager(begin: Begin) -> None:
    """What systemd does by default."""
    server, client, _ = begin()
    with client:
        os.killpg(server.pid, signal.SIGTERM)
        response = read_all(client)
    assert response.endswith(b"whole")
    assert b"Connection: close\r\n" in response
    assert server.wait() == 0
    assert "closing" not in server.log


def test_term_to_all_while_the_workers_start_is_no_failed_start(tmp_path: Path) -> None:
    """The manager runs last, and finds the ends of its workers and the signal at once."""
    server = start_server(
        str(APPS / "endings.py") + ":wsgi", *START_SLOWLY, cwd=tmp_path, start_new_session=True
    )
    try:
        wait_until(lambda: len(starting(tmp_path)) == 3, "the workers")
        os.kill(server.pid, signal.SIGSTOP)
        os.killpg(server.pid, signal.SIGTERM)
        wait_ended(starting(tmp_path))
        os.kill(server.pid, signal.SIGCONT)
        assert server.wait() == 0
        assert "SIGTERM: stopping" in server.log
        assert "ERROR" not in server.log
    finally:
        server.kill()


START_SLOWLY = ("--bind", "127.0.0.1:0", "--workers", "3", "--worker-start", "endings:start_when_told")


def starting(directory: Path) -> list[int]:
    return [int(line.split()[1]) for line in lines_of(directory / "done") if line.startswith("starting")]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_term_sent_again_to_a_worker_changes_nothing(begin: Begin) -> None:
    server, client, worker = begin()
    with client:
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: worker in server.workers("draining"), "the worker to drain")
        os.kill(worker, signal.SIGTERM)
        assert read_response(client)[2] == b"whole"
    wait_until(lambda: worker not in server.workers() and server.workers("spare"), "another worker")


def test_a_signal_that_is_not_bound_ends_manager_and_workers(begin: Begin) -> None:
    server, client, _ = begin()
    with client:
        server.signal(signal.SIGALRM)
        assert read_all(client) == b""
    assert server.wait() == -signal.SIGALRM


@pytest.fixture
def ignored() -> Iterator[None]:
    """What the test starts ignores the signals that a shell and nohup(1) have their programs ignore."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in BY_INHERITANCE}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


BY_INHERITANCE = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@pytest.mark.usefixtures("ignored")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("pool", [("--workers", "1"), ("--start", "0")], ids=["pool", "alone"])
def test_a_server_that_inherits_ignored_signals_hears_them(
    serve: Serve, pool: tuple[str, str], signum: int
) -> None:
    server = serve(APP, *pool)
    server.signal(signum)
    assert server.wait() == 0


@pytest.mark.usefixtures("ignored")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_it_hears_them_while_the_application_is_loaded(signum: int) -> None:
    server = start_server(str(APPS / "orphans.py"), "--bind", "127.0.0.1:0", parameters={"slow": True})
    try:
        wait_until(lambda: "loading" in server.out, "the application")
        server.signal(signum)
        assert server.wait() == 0
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("pool", "status"), [(("--workers", "1"), 0), (("--start", "0"), -signal.SIGHUP)], ids=["pool", "alone"]
)
def test_a_reload_while_the_application_is_loaded_does_not_end_a_pool(
    tmp_path: Path, pool: tuple[str, str], status: int
) -> None:
    arguments = (str(APPS / "orphans.py"), "--bind", "127.0.0.1:0", *pool)
    server = start_server(*arguments, cwd=tmp_path, parameters={"until": "told"})
    try:
        wait_until(lambda: "loading" in server.out, "the application")
        server.signal(signal.SIGHUP)
        (tmp_path / "told").touch()
        if status == 0:
            assert server.wait_serving().get("/") == b"ok"
            server.signal(signal.SIGTERM)
        assert server.wait() == status
    finally:
        server.kill()


def ignore_ends_of_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_a_server_that_inherits_ignored_ends_of_children_knows_how_a_worker_ended(serve: Serve) -> None:
    server = serve(APP, preexec_fn=ignore_ends_of_children)
    os.kill(server.workers("spare")[0], signal.SIGKILL)
    server.wait_log("killed by SIGKILL")


def test_where_the_application_ignores_ends_of_children_no_status_is_made_up(serve: Serve) -> None:
    server = serve(APP, parameters={"ignores_ends": True})
    os.kill(server.workers("spare")[0], signal.SIGKILL)
    server.wait_log("its exit status is lost, because the program ignores SIGCHLD")


@pytest.mark.usefixtures("ignored")
def test_the_end_of_a_terminal_ends_no_server_that_nohup_started(serve: Serve) -> None:
    alone, pool = serve(APP, "--start", "0"), serve(APP, "--workers", "1")
    before = pool.workers("spare")
    alone.signal(signal.SIGHUP)
    pool.signal(signal.SIGHUP)
    wait_until(lambda: before != pool.workers("spare") != [], "another worker")
    assert alone.get("/") == b"whole"
    assert alone.stop() == pool.stop() == 0


def test_a_manager_whose_sessions_take_long_to_stop_plans_no_more(pool: MakePool) -> None:
    server = pool(start_servers=2, min_spare_servers=1, check_spares_interval=0.05, app="pool_slow_stop.py")
    server.manager("kernel.stop()")
    assert server.wait() == 0
    assert "stopped" in server.out
    assert "Traceback" not in server.log


IN_A_THREAD = APPS / "manager_in_thread.py"


def handles(pid: int, signum: int) -> bool:
    """What is ignored would be ignored by the programs that a view starts, too."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (signum - 1) & 1)


def test_control_c_in_a_terminal_is_not_for_the_workers_of_a_manager_in_a_thread() -> None:
    with subprocess.Popen(
        [sys.executable, str(IN_A_THREAD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        for signum in (signal.SIGINT, signal.SIGHUP):
            wait_until(partial(handles, worker, signum), f"signal {signum} to be handled")
            os.kill(worker, signum)
        assert handles(worker, signal.SIGINT), "it is there"
        process.communicate("\n", timeout=DEADLINE_S)
    assert process.returncode == 0


BLOCKING = [
    *(("wsgi", path) for path in ("/sleeps", "/waits", "/loops")),
    ("asgi", "/tries"),
    ("server", "/sleeps"),
]


@pytest.mark.parametrize(("name", "path"), BLOCKING)
@pytest.mark.parametrize("signals", ["QUIT", "TERM TERM", "INT QUIT", "TERM"])
def test_a_call_that_blocks_keeps_no_server_without_a_pool_from_ending(
    tmp_path: Path, name: str, path: str, signals: str
) -> None:
    """No manager can kill that process, and no signal reaches its loop before the call ends."""
    begun = tmp_path / "begun"
    graceful = "0.2" if signals == "TERM" else "600"
    application = f"{APPS / 'blocks_alone.py'}:{name}"
    options = ("--start", "0", "--graceful-timeout", graceful, "--bind", "127.0.0.1:0")
    server = start_server(application, *options, parameters={"begun": str(begun)}).wait_serving()
    try:
        with server.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait_until(begun.exists, "the call")
            for signum in signals.split():
                server.signal(signal.Signals[f"SIG{signum}"])
                time.sleep(0.05)  # two that are pending at once are one
            assert server.wait() == 0
    finally:
        server.kill()
    assert "this call did not end in time" in server.log
    assert ("cleaned up" in server.out) == (path == "/sleeps")
