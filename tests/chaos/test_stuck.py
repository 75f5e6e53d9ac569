"""Workers that do not do as they are told: blocked, stopped, deaf."""

from __future__ import annotations

import os
import signal
import time

import harness
from conftest import MakePool
from harness import wait_until
from pools import alive, state

THREE = "start_servers=3, min_spare_servers=3, max_spare_servers=3, max_clients=3, check_spares_interval=60"


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", "it stands still")


def test_a_worker_stuck_in_a_blocking_handler_is_killed_after_graceful_timeout(pool: MakePool) -> None:
    server = pool(THREE, "--graceful-timeout", "0.2")
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
    assert f"worker {stuck} did not end in time: killing it" in server.log
    assert not alive(stuck)
    assert harness.read_all(held) == b""


def test_a_worker_that_ignores_term_is_killed_when_it_is_replaced(pool: MakePool) -> None:
    server = pool(THREE, "--graceful-timeout", "0.1")
    old = set(server.wait_workers(3))
    deaf = int(server.worker("[__import__('signal').pthread_sigmask(0, [15]), os.getpid()][1]"))
    server.manager("server.set_handlers(HANDLERS, replace=True)")
    server.wait_log(f"worker {deaf} did not end in time: killing it")
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    server.wait_workers(3)
    assert "ERROR" not in server.log


def test_a_stopped_worker_keeps_no_client_from_the_others(pool: MakePool) -> None:
    server = pool(THREE)
    first, *others = server.wait_workers(3)
    stop(first)
    assert {int(server.get("/pid")) for _ in range(50)} <= set(others)


def test_a_stopped_worker_is_killed_at_shutdown(pool: MakePool) -> None:
    server = pool(THREE, "--graceful-timeout", "0.1")
    first, *_ = server.wait_workers(3)
    stop(first)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert f"worker {first} did not end in time: killing it" in server.log
    assert not alive(first)


def test_a_stopped_worker_dies_with_its_manager(pool: MakePool) -> None:
    server = pool(THREE)
    first, *_ = server.wait_workers(3)
    stop(first)
    server.process.kill()
    wait_until(lambda: not alive(first), "it to end", deadline_s=1)


def test_a_manager_that_is_stopped_for_a_while_keeps_its_workers_serving(pool: MakePool) -> None:
    server = pool(THREE)
    workers = server.wait_workers(3)
    server.signal(signal.SIGSTOP)
    assert {int(server.get("/pid")) for _ in range(20)} <= set(workers)
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: not alive(workers[0]), "it to end")
    assert {int(server.get("/pid")) for _ in range(20)} <= set(workers[1:])
    server.signal(signal.SIGCONT)
    wait_until(lambda: workers[0] not in server.workers(), "it to be struck off")
    server.wait_workers(3)
