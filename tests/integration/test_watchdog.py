"""A worker that is stuck: what it was doing is in the log, its `finally` clauses run, and it is replaced."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import alive
from support.server import Serve
from support.waiting import wait_until

WSGI = APPS / "wsgi_recycled.py"
ASGI = APPS / "asgi_lags.py"
LIMITS = [("--request-timeout", "0.5"), ("--heartbeat-timeout", "0.5")]


@pytest.mark.parametrize("path", ["/sleeps", "/spins"])
@pytest.mark.parametrize("limit", LIMITS, ids=["request", "heartbeat"])
def test_the_call_that_a_worker_is_stuck_in_ends_with_an_exception(
    serve: Serve, limit: tuple[str, str], path: str, tmp_path: Path
) -> None:
    server = serve(WSGI, "--workers", "1", *limit)
    (stuck,) = server.workers()
    began = time.monotonic()
    assert server.request(f"{path}?{tmp_path}/call")[0] == 504
    assert 0.4 < time.monotonic() - began < 10
    server.wait_log(f"worker {stuck} was stuck in GET {path}?")
    assert f"process {stuck} is stuck in GET {path}?" in server.log
    assert "in application" in server.log, "the stacks"
    assert (tmp_path / "call.left").exists(), "its finally clause has run"
    assert int(server.get("/")) != stuck


def test_a_thread_that_is_stuck_in_python_ends_with_an_exception(serve: Serve, tmp_path: Path) -> None:
    server = serve(WSGI, "--workers", "1", "--threads", "2", "--request-timeout", "0.5")
    (stuck,) = server.workers()
    assert server.request(f"/spins?{tmp_path}/call")[0] == 504
    wait_until((tmp_path / "call.left").exists, "its finally clause")
    wait_until(lambda: not alive(stuck), "the worker to be replaced")
    assert "did not end within" not in server.log, "it has ended by itself"
    assert int(server.get("/")) != stuck


def test_the_call_of_another_request_is_not_ended(serve: Serve, tmp_path: Path) -> None:
    server = serve(WSGI, "--workers", "1", "--threads", "2", "--request-timeout", "2")
    with server.connect() as other:
        other.sendall(f"GET /sleeps?{tmp_path}/first HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until((tmp_path / "first.entered").exists, "it to be called")
        assert server.request(f"/spins?{tmp_path}/second")[0] == 504
        assert not (tmp_path / "first.left").exists()


def test_a_loop_that_is_blocked_without_a_request_is_noticed(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "1", "--lifespan", "off", "--heartbeat-timeout", "0.5")
    stuck = int(server.get("/later?60"))
    server.wait_log(f"worker {stuck} was stuck without a request: replaced")
    assert f"process {stuck} is stuck in no request:" in server.log
    assert "in block" in server.log
    assert " (most recent call first):\n  runs now\n" in server.log, "the tasks"
    assert int(server.get("/")) != stuck


@pytest.mark.parametrize("flags", [(), ("--request-timeout", "30")])
def test_a_loop_that_is_blocked_for_less_is_left_alone(serve: Serve, flags: tuple[str, ...]) -> None:
    server = serve(ASGI, "--workers", "1", "--lifespan", "off", "--heartbeat-timeout", "30", *flags)
    (worker,) = server.workers()
    assert int(server.get("/blocks?0.7")) == worker
    lag_s = wait_until(
        lambda: [one["lag_s"] for one in server.status()["workers"] if one["lag_s"] > 0.5], "lag"
    )
    assert 0.6 < lag_s[0] < 10
    assert server.log == ""


def test_the_lag_of_a_loop_that_is_blocked_now_is_shown(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "2", "--lifespan", "off")
    with server.connect() as sock:
        sock.sendall(b"GET /blocks?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: any(one["lag_s"] > 0.5 for one in server.status()["workers"]), "lag", 2.5)


def test_a_start_that_blocks_is_no_lag_and_not_ended(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "1", "--lifespan", "on", "--heartbeat-timeout", "0.4")
    pid = int(server.get("/"))
    (worker,) = server.status()["workers"]
    assert (worker["pid"], server.log) == (pid, "")
    assert worker["lag_s"] < 0.9
