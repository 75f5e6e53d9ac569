"""Workers whose program closes descriptors that are not its own, or shuts down what all workers share."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from support.apps import APPS
from support.pool import MakePool, Pool, pid_serving
from support.processes import alive
from support.responses import read_response
from support.server import Serve
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 2,
    "check_spares_interval": 0.05,
}
APP = "pool_descriptors.py"
ENDED = "ended: exit status 71: a descriptor that it needs was closed or shut down"


def ask(server: Pool, code: str) -> bytes:
    """Have a worker evaluate an expression; it may leave without a response."""
    return server.raw(f"GET /do?{code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def wait_replaced(server: Pool, old: set[int]) -> set[int]:
    """Wait until one of these workers has ended, and its successor serves. Return those that have ended."""
    wait_until(lambda: not old <= set(server.workers()), "a worker to end")
    server.wait_workers(2)
    gone = old - set(server.workers())
    assert not any(map(alive, gone))
    return gone


@pytest.mark.parametrize("what", ["close_listener", "close_epoll_sets", "close_all"])
def test_a_worker_that_loses_a_descriptor_ends_and_is_replaced(pool: MakePool, what: str) -> None:
    server = pool("--workers", "1", app=APP)
    (old,) = server.wait_workers(1)
    ask(server, f"{what}()")
    # It finds the loss of the listener when it next looks at that. The client is its successor's.
    assert int(server.get("/pid")) != old
    line = server.wait_log(ENDED)
    assert f"worker {old} " in line
    wait_until(lambda: not alive(old), "it to end")
    assert server.log.count("the program closed a descriptor that is not its own") == 1
    assert "Traceback" not in server.log
    server.wait_workers(1)
    assert server.stop() == 0


@pytest.mark.parametrize("what", ["shut_wakeups", "close_wakeups"])
def test_a_worker_that_hears_no_signal_any_more_ends_and_is_replaced(pool: MakePool, what: str) -> None:
    server = pool("--workers", "1", app=APP)
    (old,) = server.wait_workers(1)
    ask(server, f"{what}()")
    if what == "close_wakeups":  # which is not seen before
        os.kill(old, signal.SIGTERM)
    assert f"worker {old} " in server.wait_log(ENDED)
    server.wait_workers(1)
    assert server.stop() == 0


def test_a_worker_without_the_queue_ends_when_it_would_use_it(pool: MakePool) -> None:
    server = pool(**TWO, app=APP)
    old = set(server.wait_workers(2))
    first, (one, other) = server.connect_to_one_worker()
    one.sendall(b"GET /do?close_queue() HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"2" in read_response(one)[2]
    one.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.worker_of(first)["in_flight"], "it is held")
    other.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")  # the guard tries to hand it off
    time.sleep(0.05)  # some ticks of the guard
    (server.directory / "release").touch()
    assert int(read_response(one)[2]) == first, "what it has computed is sent"
    assert wait_replaced(server, old) == {first}
    server.wait_log(ENDED)
    assert "Traceback" not in server.log


def test_a_queue_that_a_worker_shuts_down_is_replaced_and_no_request_fails(pool: MakePool) -> None:
    server = pool(**TWO, app=APP)
    old = set(server.wait_workers(2))
    _, (kept, _) = server.connect_to_one_worker()
    ask(server, "shut_queue()")
    server.wait_log("a worker has shut down the queue of the pool")
    wait_until(lambda: old.isdisjoint(server.workers()), "new workers")
    server.wait_workers(2)
    with server.connect() as sock:
        assert pid_serving(sock) in server.workers()
    # The new queue works: what waits for a stuck worker is handed off.
    second, (one, other) = server.connect_to_one_worker()
    server.block_worker(one)
    assert pid_serving(other) != second
    (server.directory / "release").touch()
    assert int(read_response(one)[2]) == second
    kept.close()
    assert "Traceback" not in server.log
    assert server.log.count("shut down the queue") == 1


@pytest.mark.parametrize("place", ["TCP", "Unix"])
def test_a_listening_socket_that_a_worker_shuts_down_is_replaced(pool: MakePool, place: str) -> None:
    flags = ("--bind", "unix:site.sock") if place == "Unix" else ()
    server = pool(*flags, **TWO, app=APP)
    if place == "Unix":
        server.url = f"unix:{server.directory}/site.sock"
    old = set(server.wait_workers(2))
    ask(server, "shut_listener()")
    server.wait_log("a worker has shut down the listening socket")
    wait_until(lambda: old.isdisjoint(server.workers()), "new workers")
    server.wait_workers(2)
    assert server.raw(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"one")
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_several_listening_sockets_that_a_worker_shuts_down_are_replaced_at_once(pool: MakePool) -> None:
    server = pool("--bind", "127.0.0.1:0", "--bind", "unix:site.sock", **TWO, app=APP)
    old = set(server.wait_workers(2))
    ask(server, "shut_listener()")
    server.wait_log("a worker has shut down the listening socket")
    wait_until(lambda: old.isdisjoint(server.workers()), "new workers")
    server.wait_workers(2)
    request = b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert server.raw(request).endswith(b"one")
    server.url = f"unix:{server.directory}/site.sock"
    assert server.raw(request).endswith(b"one")
    assert server.log.count("a worker has shut down the listening socket") == 1
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_a_passed_socket_that_a_worker_shuts_down_listens_again(pool: MakePool) -> None:
    """It cannot be made again: another process has it as well."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", port)) as passed:
        number = passed.fileno()
        server = pool("--bind", f"fd://{number}", **TWO, app=APP, pass_fds=(number,))
        old = set(server.wait_workers(2))
        ask(server, "shut_listener()")
        server.wait_log("a worker has shut down the listening socket")
        wait_until(lambda: old.isdisjoint(server.workers()), "new workers")
        server.wait_workers(2)
        assert server.port == port == passed.getsockname()[1]
        assert server.get("/one") == b"one"
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_passed_unix_socket_that_a_worker_shuts_down_is_one_line(pool: MakePool, tmp_path: Path) -> None:
    """That kind does not listen again (unix(7)): the server says so, and goes on without it."""
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(tmp_path / "passed"))
        passed.listen()
        number = passed.fileno()
        server = pool("--bind", f"fd://{number}", "--max-retries", "0", **TWO, app=APP, pass_fds=(number,))
        ask(server, "shut_listener()")
        server.wait_log(f"cannot listen on fd://{number}: the socket was shut down; start it again")
        wait_until(lambda: server.status()["totals"]["workers"] == 0, "the workers to go")
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_the_end_of_a_pool_is_no_fault_of_its_sockets(pool: MakePool) -> None:
    server = pool(**TWO, app=APP)
    server.wait_workers(2)
    assert server.manager("server.stop_listen()")
    wait_until(lambda: server.status()["totals"]["workers"] == 0, "no worker")
    assert server.manager("server.start_listen()")
    server.wait_workers(2)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "ERROR" not in server.log
    assert "CRITICAL" not in server.log


def test_without_a_pool_the_process_ends(pool: MakePool) -> None:
    server = pool(start_servers=0, app=APP)
    ask(server, "close_epoll_sets()")
    assert server.wait() == 71
    assert "the program closed a descriptor that is not its own" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_asgi_worker_without_its_listener_ends_and_is_replaced(serve: Serve, loop: str) -> None:
    server = serve(APPS / "asgi_descriptors.py", "--workers", "1", "--loop", loop, "--lifespan", "off")
    (old,) = server.workers()
    assert server.get("/close_listener") == b"ok"
    assert server.get("/") == b"ok", "by its successor"
    assert f"worker {old} " in server.wait_log(ENDED)
    assert "Traceback" not in server.log
