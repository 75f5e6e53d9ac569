"""`request_timeout`: the response for a handler that sends none, and the end of its worker."""

from __future__ import annotations

import re
import time

import pytest

from support.apps import APPS
from support.pool import PID, MakePool, pid_serving
from support.processes import alive
from support.responses import read_all, read_response
from support.server import Serve
from support.waiting import wait_until
from support.websocket import RawSocket


def test_an_async_handler_that_takes_too_long_is_a_504_and_its_worker_goes_on(pool: MakePool) -> None:
    server = pool("--workers", "1", request_timeout=0.3, app="pool_functions.py")
    (worker,) = server.wait_workers(1)
    began = time.monotonic()
    with server.connect() as sock:
        sock.sendall(b"GET /catch?now HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields, body = read_response(sock)
        assert (status, fields["connection"]) == (504, "close")
        assert b"did not respond in time" in body
        assert sock.recv(1) == b""
    assert 0.3 < time.monotonic() - began < 2
    assert server.get("/reported") == b"['cancelled']"
    server.wait_log("GET /catch?now had no response in 0.3 s: 504")
    assert server.workers() == [worker]
    assert "dropped its response" not in server.log
    assert server.totals["in_flight"] == 0


def test_a_server_without_a_pool_responds_504_as_well(serve: Serve) -> None:
    server = serve(APPS / "slow_handler.py")
    assert server.request("/slow")[0] == 504
    server.wait_log("GET /slow had no response in 0.2 s")


def test_a_response_in_time_and_one_that_has_begun_are_left_alone(pool: MakePool) -> None:
    server = pool("--workers", "1", request_timeout=0.3, app="pool_functions.py")
    server.wait_workers(1)
    assert server.get("/stream") == b"piece" * 6
    with server.connect() as sock:
        for _ in range(8):
            sock.sendall(b"GET /nap?0.1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(sock)[0] == 200
    assert "504" not in server.log


@pytest.mark.parametrize("path", ["/hold", "/native"], ids=["in Python", "in C with the GIL"])
def test_a_stuck_worker_responds_504_logs_where_it_is_and_is_replaced(pool: MakePool, path: str) -> None:
    server = pool("--workers", "1", request_timeout=0.5, app="pool_functions.py")
    server.wait_workers(1)
    stuck, (first, second) = server.connect_to_one_worker()
    began = time.monotonic()
    first.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    wait_until(lambda: server.status()["workers"][0]["in_flight"], "it to be stuck")
    second.sendall(PID)
    status, fields, _ = read_response(first)
    assert (status, fields["connection"]) == (504, "close")
    assert 0.5 < time.monotonic() - began < 2
    assert read_all(first) == b""
    assert int(read_response(second)[2]) != stuck  # what waited is not lost
    line = server.wait_log(f"worker {stuck} was stuck in GET {path} for")
    assert re.search(r"for 0\.\d s: replaced$", line)
    assert "most recent call first" in server.log
    assert f"in {path.removeprefix('/')}" in server.log
    wait_until(lambda: not alive(stuck), "it to end")
    server.wait_workers(1)
    assert server.status()["manager"]["boot_failed"] == 0


def test_idle_connections_of_a_stuck_worker_live_on(pool: MakePool) -> None:
    server = pool("--workers", "2", request_timeout=0.3)
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    first.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_response(first)[0] == 504
    assert pid_serving(second) != stuck


def test_every_request_that_a_stuck_worker_owes_is_served(pool: MakePool) -> None:
    server = pool("--workers", "1", request_timeout=0.5, concurrency=8)
    server.wait_workers(1)
    with server.connect() as other, server.connect() as sock:
        other.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.totals["in_flight"] == 1, "it is held")
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(sock)[0] == 504
        assert read_response(other)[0] == 504
    server.wait_log("was stuck with 2 requests in flight, among them GET /hold for")


def test_without_a_timeout_a_stuck_worker_is_left_alone(pool: MakePool) -> None:
    server = pool("--workers", "1")
    (worker,) = server.wait_workers(1)
    server.hold(1)
    wait_until(lambda: server.totals["active"] == 1, "it is held")
    assert [int(body) for body in server.release()] == [worker]


def test_a_thread_that_takes_too_long_is_a_504_and_its_worker_is_replaced(serve: Serve) -> None:
    options = ("--workers", "1", "--threads", "2", "--request-timeout", "0.3", "--graceful-timeout", "0.5")
    server = serve(APPS / "wsgi_stuck.py", *options)
    (stuck,) = server.workers()
    with server.connect() as kept:
        assert pid_serving(kept) == stuck
        assert server.request("/stuck")[0] == 504
        wait_until(lambda: pid_serving(kept) != stuck, "another worker")
    server.wait_log("GET /stuck had no response in 0.3 s")
    server.wait_log("most recent call first")
    wait_until(lambda: not alive(stuck), "it to end")


ASGI = APPS / "asgi_stuck.py"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_asgi_call_that_awaits_for_ever_is_cancelled(serve: Serve, loop: str) -> None:
    server = serve(ASGI, "--workers", "1", "--lifespan", "off", "--loop", loop, "--request-timeout", "0.3")
    (worker,) = server.workers()
    assert server.request("/forever")[0] == 504
    # What is still unread of its body keeps the connection a while longer.
    assert server.request("/forever", method="POST", body=b"x" * 3_000_000)[0] == 504
    with RawSocket(server, "/forever") as refused:
        assert refused.status == 504
    assert server.get("/reported") == b"['http', 'http', 'websocket']"
    text = "/forever had no response in 0.3 s: 504"
    wait_until(lambda: server.log.count(text) == 3, "three lines")
    assert "failed" not in server.log
    assert server.workers() == [worker]
    wait_until(lambda: server.status()["totals"]["in_flight"] == 0, "all is over")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_asgi_worker_that_a_task_blocks_responds_504_and_is_replaced(serve: Serve, loop: str) -> None:
    server = serve(ASGI, "--workers", "1", "--lifespan", "off", "--loop", loop, "--request-timeout", "0.3")
    (stuck,) = server.workers()
    assert server.request("/blocks")[0] == 504
    server.wait_log(f"worker {stuck} was stuck in GET /blocks for")
    assert server.get("/reported") == b"[]"


def test_a_thread_that_keeps_the_interpreter_is_a_504_as_well(serve: Serve) -> None:
    server = serve(APPS / "wsgi_keeps_gil.py", "--workers", "1", "--threads", "2", "--request-timeout", "0.3")
    (stuck,) = server.workers()
    assert server.request("/stuck")[0] == 504
    server.wait_log(f"worker {stuck} was stuck in GET /stuck for")
    assert server.request("/")[0] == 200
