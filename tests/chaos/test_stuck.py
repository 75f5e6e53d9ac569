"""Workers that do not end when they should: blocked, stopped, or ignoring the signal."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from prefork.pool.stillness import STUCK_S
from support.apps import APPS
from support.pool import MakePool, Pool
from support.processes import alive, state, wait_ended
from support.responses import read_all, read_response
from support.server import Serve
from support.waiting import wait_until

THREE = {
    "start_servers": 3,
    "min_spare_servers": 3,
    "max_spare_servers": 3,
    "max_clients": 3,
    "check_spares_interval": 60,
}


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", "it stands still")


def test_a_worker_stuck_in_a_blocking_handler_is_killed_after_graceful_timeout(pool: MakePool) -> None:
    server = pool("--graceful-timeout", "0.2", **THREE)
    server.wait_workers(3)
    (held,) = server.hold(1)
    wait_until(lambda: server.totals["active"] == 1, "one held")
    (stuck,) = server.workers("active")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    took_s = time.monotonic() - began
    print(f"ended after {took_s:.2f} s")
    assert 0.2 < took_s < 5
    assert f"killing worker {stuck}: it did not end within graceful_timeout" in server.log
    assert not alive(stuck)
    assert read_all(held) == b""


def test_a_worker_that_ignores_term_is_killed_when_it_is_replaced(pool: MakePool) -> None:
    server = pool("--graceful-timeout", "0.1", **THREE)
    old = set(server.wait_workers(3))
    deaf = int(server.worker("[__import__('signal').pthread_sigmask(0, [15]), os.getpid()][1]"))
    server.manager("server.set_handlers(HANDLERS, replace=True)")
    server.wait_log(f"killing worker {deaf}: it did not end within graceful_timeout")
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    server.wait_workers(3)
    assert "ERROR" not in server.log


HUNG = {
    "start_servers": 1,
    "min_spare_servers": 1,
    "max_spare_servers": 1,
    "max_clients": 1,
    "check_spares_interval": 0.05,
}
LEAVES = pytest.mark.parametrize("signalled", [False, True], ids=["after max_requests", "replaced"])


def leaving(
    pool: MakePool, path: str, graceful_s: str, *, signalled: bool
) -> tuple[Pool, int, socket.socket]:
    """A worker that drains and has a request open, which goes on when the file `go` is there."""
    options = HUNG if signalled else HUNG | {"max_requests_per_child": 2}
    server = pool("--graceful-timeout", graceful_s, **options, app="pool_functions.py")
    (worker,) = server.wait_workers(1)
    server.get("/one")
    (held,) = server.hold(1, path)
    wait_until(lambda: server.worker_of(worker)["in_flight"], "the request")
    if signalled:
        server.signal(signal.SIGHUP)
    wait_until(lambda: server.worker_of(worker)["state"] == "draining", "it to drain")
    return server, worker, held


@LEAVES
def test_a_worker_that_hangs_while_it_leaves_is_killed_and_replaced(pool: MakePool, signalled: bool) -> None:
    server, worker, held = leaving(pool, "/block", "1", signalled=signalled)
    began = time.monotonic()
    (server.directory / "go").touch()
    server.wait_log(f"killing worker {worker}: it did not end within graceful_timeout")
    took_s = time.monotonic() - began
    print(f"killed after {took_s:.2f} s")
    assert 2 < took_s < 6, "graceful_timeout and two seconds"
    wait_until(lambda: not alive(worker), "it to end")
    assert read_all(held) == b""
    assert server.wait_workers(1) != [worker]
    assert "ERROR" not in server.log


@LEAVES
def test_a_worker_that_leaves_within_its_time_is_not_killed(pool: MakePool, signalled: bool) -> None:
    server, worker, held = leaving(pool, "/last", "5", signalled=signalled)
    (server.directory / "go").touch()
    assert read_response(held)[2] == b"last"
    wait_until(lambda: not alive(worker), "it to end")
    assert server.wait_workers(1) != [worker]
    assert "killing" not in server.log
    assert server.stop() == 0


def test_a_stopped_worker_keeps_no_client_from_the_others(pool: MakePool) -> None:
    server = pool(**THREE)
    first, *others = server.wait_workers(3)
    stop(first)
    assert {int(server.get("/pid")) for _ in range(50)} <= set(others)


@pytest.mark.parametrize("path", ["/hold", "/ahold"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_stopped_in_a_request_is_shown_and_reported(
    pool: MakePool, workers: int, path: str
) -> None:
    server = pool("--workers", str(workers))
    server.wait_workers(workers)
    server.hold(1, path)
    server.wait_active(1)
    (held,) = server.workers("active")
    stop(held)
    wait_until(lambda: server.workers("stuck") == [held], "it is shown", deadline_s=30)
    server.wait_log(f"worker {held} stands still with GET {path} for", deadline_s=30)
    assert server.totals["stuck"] == 1
    os.kill(held, signal.SIGCONT)
    wait_until(lambda: server.workers("active") == [held], "it goes on")
    assert [int(body) for body in server.release()] == [held]
    assert "killing" not in server.log


@pytest.mark.parametrize(
    ("name", "options"), [("asgi", ()), ("wsgi", ("--threads", "4"))], ids=["asgi", "threads"]
)
def test_a_worker_that_is_stopped_is_reported_with_requests_that_are_in_flight(
    serve: Serve, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    app, parameters = Path(f"{APPS / 'holds.py'}:{name}"), {"release": str(tmp_path / "release")}
    server = serve(app, "--workers", "1", *options, parameters=parameters)
    (worker,) = server.workers()

    def wait_in_flight(count: int) -> None:
        wait_until(lambda: server.status()["totals"]["in_flight"] == count, f"{count} in flight")

    with server.connect() as first, server.connect() as second:
        first.sendall(b"GET /hold?1 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(1)
        second.sendall(b"GET /hold?2 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(2)
        server.get("/quick")
        wait_in_flight(2)
        stop(worker)
        line = f"worker {worker} stands still with 2 requests in flight, among them GET /hold?2 for"
        server.wait_log(line, deadline_s=30)
        os.kill(worker, signal.SIGCONT)


@pytest.mark.parametrize("path", ["/hold", "/ahold"])
def test_a_worker_that_is_only_slow_is_not_stuck(pool: MakePool, path: str) -> None:
    server = pool("--workers", "2", check_spares_interval=0.05)
    server.wait_workers(2)
    server.hold(1, path)
    server.wait_active(1)
    (slow,) = server.workers("active")
    began = time.monotonic()
    while time.monotonic() - began < STUCK_S + 2:
        assert server.worker_of(slow)["state"] == "active"
        time.sleep(0.05)
    server.release()
    assert server.err == []


def test_a_worker_that_is_stopped_past_the_request_timeout_is_replaced(pool: MakePool) -> None:
    server = pool(request_timeout=0.5, **THREE)
    old = set(server.wait_workers(3))
    (held,) = server.hold(1, "/hold")
    server.wait_active(1)
    (stuck,) = server.workers("active")
    stop(stuck)
    server.wait_log(f"killing worker {stuck}: it stands still for longer than request_timeout", deadline_s=30)
    wait_until(lambda: not alive(stuck), "it to end")
    assert read_all(held) == b""
    assert set(server.wait_workers(3)) > old - {stuck}


def test_a_stopped_worker_is_killed_at_shutdown(pool: MakePool) -> None:
    server = pool("--graceful-timeout", "0.1", **THREE)
    first, *_ = server.wait_workers(3)
    stop(first)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert f"killing worker {first}: it did not end within graceful_timeout" in server.log
    assert not alive(first)


def test_a_stopped_worker_dies_with_its_manager(pool: MakePool) -> None:
    server = pool(**THREE)
    first, *_ = server.wait_workers(3)
    stop(first)
    server.process.kill()
    wait_until(lambda: not alive(first), "it to end", deadline_s=1)


KINDS = {"wsgi": (), "asgi": (), "uvloop": ("--loop", "uvloop")}


@pytest.mark.parametrize("path", ["/idle", "/stuck", "/thread"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_changed_its_user_dies_with_its_manager_even_in_c(
    serve: Serve, kind: str, path: str
) -> None:
    name = "wsgi" if kind == "wsgi" else "asgi"
    server = serve(Path(f"{APPS / 'stuck_in_c.py'}:{name}"), "--workers", "2", *KINDS[kind])
    workers = server.workers()
    with server.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: f"at {path}" in server.out, "it to be there")
        server.process.kill()
        wait_ended(workers)


def test_a_worker_without_a_guard_that_changed_its_user_at_its_start_dies_with_its_manager(
    serve: Serve,
) -> None:
    server = serve(Path(f"{APPS / 'stuck_in_c.py'}:early"), "--workers", "1")
    workers = server.workers()
    with server.connect() as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "at /stuck" in server.out, "it to be there")
        server.process.kill()
        wait_ended(workers)


def test_a_manager_that_is_stopped_for_a_while_keeps_its_workers_serving(pool: MakePool) -> None:
    server = pool(**THREE)
    workers = server.wait_workers(3)
    server.signal(signal.SIGSTOP)
    assert {int(server.get("/pid")) for _ in range(20)} <= set(workers)
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: not alive(workers[0]), "it to end")
    assert {int(server.get("/pid")) for _ in range(20)} <= set(workers[1:])
    server.signal(signal.SIGCONT)
    wait_until(lambda: workers[0] not in server.workers(), "it to be struck off")
    server.wait_workers(3)
