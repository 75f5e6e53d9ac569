"""`prefork why PID`: what a worker does, whether it and its manager respond or not."""

from __future__ import annotations

import json
import os
import signal
from typing import Any
from urllib.parse import quote

from prefork.pool.stillness import is_stopped
from support.control import command, done
from support.pool import MakePool, Pool
from support.server import run_prefork
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}
DEADLOCK = quote("(lambda lock: (lock.acquire(), lock.acquire()))(__import__('_thread').allocate_lock())")


def active(server: Pool) -> int:
    server.wait_active(1)
    (pid,) = server.workers("active")
    return pid


def asked(server: Pool, pid: int, *flags: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(server, "why", str(pid), "--json", *flags))
    return found


def test_an_idle_worker_waits_for_events(pool: MakePool) -> None:
    server = pool(**TWO)
    pid, _ = server.wait_workers(2)
    lines = done(server, "why", str(pid)).splitlines()
    assert lines[0].startswith(f"worker {pid} of the pool {server.glue}, slot ")
    assert lines[0].endswith("generation 1: spare")
    assert lines[1].startswith("up ")
    assert "request: none in flight" in lines
    assert "main thread: waits for events of its connections" in lines
    assert not any("File " in line for line in lines)
    assert "Current thread" in done(server, "why", str(pid), "--stacks")


def test_a_worker_that_waits_for_a_lock_says_so_with_its_stack(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1, f"/do?{DEADLOCK}")
    pid = active(server)
    found = wait_until(lambda: (one := asked(server, pid))["is_stuck"] and one, "it to be stuck")
    assert found["main_thread"] == {"kind": "lock", "text": "waits for a lock"}
    assert found["worker"]["request"]["method"] == "GET"
    assert "in do" in found["stacks"]
    assert found["why_no_tasks"]
    shown = done(server, "why", str(pid))
    assert "main thread: waits for a lock" in shown
    assert "in one call for" in shown
    assert "request: GET /do" in shown
    server.kill()


def test_tasks_of_a_worker_are_shown(pool: MakePool) -> None:
    server = pool("--workers", "1", concurrency=8)
    (pid,) = server.wait_workers(1)
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["in_flight"] == 1, "one in flight")
    shown = done(server, "why", str(pid), "--stacks")
    assert "request: GET /ahold" in shown
    assert "waits for Future" in shown
    assert "ahold" in shown.partition("Current thread")[2]
    server.release()


def test_a_stopped_worker_says_how_it_goes_on(pool: MakePool) -> None:
    server = pool(**TWO)
    pid, _ = server.wait_workers(2)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(pid), "it to be stopped")
        shown = done(server, "why", str(pid))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"main thread: is stopped by a signal; `kill -CONT {pid}` lets it go on" in shown
    assert "no stacks: a worker that is stopped or has ended writes none" in shown


def test_no_manager_has_to_respond(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1, f"/do?{DEADLOCK}")
    pid = active(server)
    server.signal(signal.SIGSTOP)
    try:
        shown = done(server, "why", str(pid), "--stacks")
    finally:
        server.signal(signal.SIGCONT)
    assert "main thread: waits for a lock" in shown
    assert f"no stacks: the manager {server.pid} of the pool {server.glue} does not respond" in shown
    server.kill()


def test_a_pid_of_another_process_is_refused(pool: MakePool) -> None:
    server = pool(**TWO)
    workers = server.wait_workers(2)
    refused = command(server, "why", str(os.getpid()))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{os.getpid()} is no worker of the pool {server.glue}; its workers: " in refused.stderr
    assert all(str(pid) in refused.stderr for pid in workers)
    assert run_prefork("why", "1", "--glue", "prefork-unknown").returncode == 2
