"""STOPLISTEN, STARTLISTEN and SHUTDOWN: what they mean in a worker, and what in the manager."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from prefork.pool.scoreboard import list_glues
from support.apps import APPS
from support.pool import MakePool, Pool
from support.processes import alive
from support.responses import read_all, read_response
from support.waiting import wait_until

LAZY = {"start_servers": 2, "min_spare_servers": 2, "max_spare_servers": 2, "max_clients": 8}
TWO = LAZY | {"check_spares_interval": 0.05}
ASK = b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"


def is_refused(server: Pool) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@contextlib.contextmanager
def connection_to(server: Pool, pid: int, code: str = "None") -> Iterator[socket.socket]:
    """A kept connection to that worker, which has evaluated this code: on a busy machine another may."""
    others = []
    try:
        while True:
            sock = server.connect()
            others.append(sock)
            if json.loads(ask(sock, f"[{code}]if(os.getpid()=={pid})else[]"))["value"]:
                yield sock
                return
    finally:
        for sock in others:
            sock.close()


def ask(sock: socket.socket, code: str) -> bytes:
    sock.sendall(f"GET /do?{code} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return read_response(sock)[2]


# --- in a worker --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "start"),
    [
        ("kernel.call('HTTPD','STOPLISTEN')", "kernel.call('HTTPD','STARTLISTEN')"),
        ("server.stop_listen()", "server.start_listen()"),
    ],
    ids=["events", "methods"],
)
def test_stoplisten_in_a_worker_pauses_its_accepting_and_startlisten_resumes(
    pool: MakePool, stop: str, start: str
) -> None:
    server = pool("--workers", "2")
    first, second = server.wait_workers(2)
    with connection_to(server, first, stop) as to_first:
        assert {int(server.get("/pid")) for _ in range(20)} == {second}
        assert sorted(server.workers("spare")) == sorted([first, second]), "its state is not touched"
        ask(to_first, start)
    with connection_to(server, second, stop):
        assert {int(server.get("/pid")) for _ in range(20)} == {first}


START = ("kernel.call('HTTPD','STARTLISTEN')", "server.start_listen()")
STOP = ("kernel.call('HTTPD','STOPLISTEN')", "server.stop_listen()")


@pytest.mark.parametrize("first", [0, 1], ids=["by event", "by method"])
def test_what_changes_nothing_gives_false_by_event_and_by_method(pool: MakePool, first: int) -> None:
    server = pool("--workers", "1")
    (worker,) = server.wait_workers(1)
    calls = [call for how in (START, STOP, START) for call in (how[first], *how)]
    code = f"[{','.join(calls)}]"
    expected = [False, False, False, True, False, False, True, False, False]
    with connection_to(server, worker) as sock:
        assert json.loads(ask(sock, code))["value"] == expected
    assert server.manager(code) == expected


def test_a_worker_that_was_stopped_stays_so_through_busy_times(pool: MakePool) -> None:
    server = pool("--workers", "2")
    first, second = server.wait_workers(2)
    with connection_to(server, first, "server.stop_listen()") as sock:
        (server.directory / "release").touch()
        sock.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
        # On a busy machine the first may be late, and the request is handed to the second.
        assert int(read_response(sock)[2]) in (first, second)
        assert {int(server.get("/pid")) for _ in range(20)} == {second}


@pytest.mark.parametrize("how", ["", ",'GRACEFUL'"], ids=["plain", "graceful"])
def test_shutdown_in_a_worker_ends_it_alone_and_it_is_replaced(pool: MakePool, how: str) -> None:
    server = pool("--workers", "2")
    first, second = server.wait_workers(2)
    with connection_to(server, first) as sock:
        response = ask(sock, f"kernel.post('HTTPD','SHUTDOWN'{how})")
        assert response == b'{"value": true}'
    wait_until(lambda: not alive(first), "the first to end")
    assert first not in server.wait_workers(2)
    assert second in server.workers()
    assert "ERROR" not in server.log


# --- in the manager -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hold", "/ahold"], ids=["blocking", "async"])
def test_stoplisten_in_the_manager_closes_the_port_and_lets_workers_finish(pool: MakePool, path: str) -> None:
    server = pool("--graceful-timeout", "5", **TWO)
    server.wait_workers(2)
    server.hold(2, path)
    wait_until(lambda: server.totals["active"] == 2, "two held")
    server.wait_spares(2)
    busy = server.workers("active")
    assert server.manager("server.stop_listen()") is True
    assert is_refused(server), "even while those that are busy have the socket open"
    wait_until(lambda: server.totals["workers"] == 2, "the idle ones to go")
    assert sorted(server.workers()) == sorted(busy)
    assert sorted(map(int, server.release())) == sorted(busy)
    wait_until(lambda: server.totals["workers"] == 0, "all to go")
    assert server.process.poll() is None, "the manager stays"
    assert server.manager("[kernel.find('HTTPD') is server, server.workers]") == [True, []]
    assert "ERROR" not in server.log


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:here"])
def test_startlisten_in_the_manager_need_not_wait_for_busy_workers(pool: MakePool, bind: str) -> None:
    server = pool("--bind", bind, **TWO)
    server.wait_workers(2)
    server.hold(1)
    wait_until(lambda: server.totals["active"] == 1, "one held")
    server.wait_spares(2)
    old = server.workers()
    server.manager("[server.stop_listen(), server.start_listen()]")
    with server.connect() as sock:
        sock.sendall(ASK)
        assert int(read_response(sock)[2]) not in old
    assert int(server.release()[0]) in old
    wait_until(lambda: set(old).isdisjoint(server.workers()), "the old ones to go")


def test_startlisten_in_the_manager_opens_the_same_port_and_forks_again(pool: MakePool) -> None:
    server = pool(**TWO, setup_handler=("PAGES", "record"))
    old = set(server.wait_workers(2))
    server.manager("kernel.call('HTTPD', 'STOPLISTEN')")
    wait_until(lambda: is_refused(server), "the port to be closed")
    server.manager("kernel.call('HTTPD', 'STARTLISTEN')")
    assert int(server.get("/pid")) not in old
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    server.wait_workers(2)
    assert server.manager("pages.reported") == [[server.port, "127.0.0.1"]] * 2, (
        "the setup handler is called again"
    )
    assert server.manager("server.start_listen()") is False, "it listens already"


def test_stoplisten_and_startlisten_in_one_breath_lose_no_worker(pool: MakePool) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    server.manager(
        "[server.stop_listen(), server.start_listen(), server.stop_listen(), server.start_listen()]"
    )
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    server.wait_workers(2)
    assert server.status()["manager"]["forked"] == 4
    assert server.get("/one") == b"one"


def test_what_is_forked_after_startlisten_keeps_the_policy(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.manager("[server.stop_listen(), server.start_listen()]")
    server.wait_workers(2)
    server.hold(2)
    wait_until(lambda: server.totals["active"] == 2, "two held")
    server.wait_spares(2)


# --- the end ------------------------------------------------------------------------------------------------


def assert_nothing_is_left(server: Pool, workers: list[int]) -> None:
    assert not any(map(alive, workers))
    assert is_refused(server)
    assert server.glue not in list_glues()


@pytest.mark.parametrize("how", ["", ", 'GRACEFUL'"], ids=["plain", "graceful"])
@pytest.mark.parametrize("stopped", [False, True], ids=["listening", "after STOPLISTEN"])
def test_after_shutdown_in_the_manager_nothing_is_left_and_run_ends(
    pool: MakePool, how: str, stopped: bool
) -> None:
    # A timer or a reader that was forgotten would keep the kernel running.
    server = pool("--graceful-timeout", "20", **LAZY, check_spares_interval=30, debug_scoreboard=True)
    workers = server.wait_workers(2)
    if stopped:
        server.manager("server.stop_listen()")
    began = time.monotonic()
    server.manager(f"[remote.close(), kernel.post('HTTPD', 'SHUTDOWN'{how})]")
    assert server.wait() == 0
    print(f"gone after {(time.monotonic() - began) * 1000:.0f} ms")
    assert time.monotonic() - began < 5
    assert_nothing_is_left(server, workers)
    assert "ERROR" not in server.log


def test_shutdown_graceful_waits_for_open_requests(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(2, "/ahold")
    wait_until(lambda: server.totals["active"] == 2, "two held")
    busy, workers = server.workers("active"), server.workers()
    server.manager("[remote.close(), server.shutdown(graceful=True)]")
    wait_until(lambda: is_refused(server), "the port to be closed")
    assert server.process.poll() is None
    assert sorted(map(int, server.release())) == sorted(busy)
    assert server.wait() == 0
    assert_nothing_is_left(server, workers)


def test_shutdown_kills_what_is_open(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    held = server.hold(2)
    wait_until(lambda: server.totals["active"] == 2, "two held")
    workers = server.workers()
    server.manager("[remote.close(), kernel.post('HTTPD', 'SHUTDOWN')]")
    assert server.wait() == 0
    assert [read_all(sock) for sock in held] == [b"", b""]
    assert_nothing_is_left(server, workers)


def test_shutdown_removes_the_alias(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.manager("kernel.post('HTTPD', 'SHUTDOWN')")
    wait_until(lambda: server.manager("kernel.find('HTTPD') is None"), "the alias to go")
    assert server.manager("[server.workers, server.glue, kernel.post('HTTPD', 'SHUTDOWN')]") == [
        [],
        None,
        False,
    ]
    server.manager("remote.close()")
    assert server.wait() == 0


def test_shutdown_before_the_first_workers_are_forked_forks_none(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.manager("server.stop_listen()")
    wait_until(lambda: server.totals["workers"] == 0, "all to go")
    server.manager("[server.start_listen(), remote.close(), server.shutdown(graceful=True)]")
    assert server.wait() == 0
    assert server.out == server.out[:1], "it was not said to serve again"


def test_graceful_timeout_cuts_an_asynchronous_handler_that_does_not_end(pool: MakePool) -> None:
    server = pool("--graceful-timeout", "0.3", **TWO)
    server.wait_workers(2)
    (held,) = server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "one held")
    server.manager("[remote.close(), server.shutdown(graceful=True)]")
    assert server.wait() == 0
    assert read_all(held) == b""
    assert "closing 1 connections that did not end" in server.log
    assert "killing" not in server.log


def test_when_the_kernel_is_stopped_no_worker_outlives_run(pool: MakePool) -> None:
    server = pool(**TWO)
    workers = server.wait_workers(2)
    server.manager("kernel.stop()")
    assert server.wait() == 0
    assert_nothing_is_left(server, workers)
    assert "Traceback" not in server.log


def test_a_program_goes_on_after_run_with_nothing_of_the_pool_left() -> None:
    done = subprocess.run(
        [sys.executable, str(APPS / "run_and_go_on.py")], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr) == ("['', None, None]\n", "")
