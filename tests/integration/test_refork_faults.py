"""A refork that something comes between leaves the pool as it was."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import alive, children, wait_ended
from support.server import Serve, Server
from support.waiting import wait_until

WSGI = Path(f"{APPS / 'refork.py'}:wsgi")
FLAGS = ("--workers", "1", "--refork-after", "5")


@contextlib.contextmanager
def candidate(serve: Serve, *flags: str, slow_s: float = 5.0) -> Iterator[tuple[Server, int, list[int]]]:
    """A server whose only worker is to become the mold, and finishes a slow request before. Its pid, and a
    list that gets the status of that request.
    """
    server = serve(WSGI, *FLAGS, "--threads", "2", *flags, cwd=APPS, parameters={"slow_s": slow_s})
    statuses: list[int] = []
    for _ in range(5):
        server.get()

    def ask() -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):
            statuses.append(server.request("/slow")[0])

    slow = threading.Thread(target=ask)
    slow.start()
    line = server.wait_log("is to become the next mold")
    found = re.search(r"worker (\d+) has served", line)
    assert found
    pid = int(found[1])
    wait_until(lambda: set(server.workers("spare", "active")) - {pid}, "its successor")
    wait_until(lambda: pid in server.workers("draining"), "it to drain")
    yield server, pid, statuses
    slow.join(20)


def test_it_waits_for_the_last_request(serve: Serve) -> None:
    with candidate(serve, slow_s=1.0) as (server, pid, statuses):
        server.wait_log("refork: every worker is of generation 2")
        assert statuses == [200]
        assert json.loads(server.get())["maker"] == pid


def test_a_reload_takes_its_place(serve: Serve) -> None:
    with candidate(serve, slow_s=2.0) as (server, pid, statuses):
        server.signal(signal.SIGHUP)
        server.wait_log("refork: given up, because another reload takes its place")
        server.wait_log("reload: every worker is of generation 2")
        wait_until(lambda: not alive(pid), "the end of the worker")
        assert statuses == [200]
        assert "the next attempt is in 10 s" in server.log
        assert server.stop() == 0
        assert "ERROR" not in server.log


def test_a_stop_ends_it(serve: Serve) -> None:
    with candidate(serve, slow_s=3.0) as (server, pid, statuses):
        assert server.stop() == 0
        assert not alive(pid)
    assert statuses == [200]
    assert "ERROR" not in server.log


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_told_to_end_becomes_no_mold(serve: Serve, signum: int) -> None:
    with candidate(serve, slow_s=3.0) as (server, pid, _):
        os.kill(pid, signum)
        server.wait_log(f"refork: worker {pid} has ended, and is no mold; generation 1 serves on")
        wait_until(lambda: not alive(pid), "its end")
        assert json.loads(server.get())["maker"] != pid
        (worker,) = server.workers("spare", "active")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: set(server.workers("spare")) - {worker}, "another worker of the former mold")
        assert "is loaded again" not in server.log
        assert server.stop() == 0


def test_one_that_does_not_end_in_time_is_killed(serve: Serve) -> None:
    with candidate(serve, "--graceful-timeout", "1", slow_s=30.0) as (server, pid, _):
        server.wait_log(f"killing worker {pid}: it did not end within graceful_timeout (1 s)")
        server.wait_log(f"refork: worker {pid} has ended, and is no mold")
        assert json.loads(server.get())["maker"] != pid
        assert server.stop() == 0


def test_nothing_outlives_a_manager_that_is_killed(serve: Serve) -> None:
    with candidate(serve, slow_s=3.0) as (server, _, _):
        pids = children(server.pid)
        assert len(pids) == 3
        server.kill()
        wait_ended(pids)


def test_a_mold_that_stands_still_costs_nothing(serve: Serve) -> None:
    with candidate(serve, "--boot-timeout", "2", slow_s=1.0) as (server, pid, _):
        server.wait_log(f"process {pid} is no worker any more")
        os.kill(pid, signal.SIGSTOP)
        ends = ("every worker is of generation 2", "generation 1 serves on")  # it may have forked before
        wait_until(lambda: any(end in server.log for end in ends), "its end")
        server.get()
        assert server.stop() == 0
    assert not alive(pid)


def test_workers_of_the_new_mold_that_are_not_ready_prevent_it(serve: Serve) -> None:
    flags = ("--ready-path", "/ready")
    server = serve(WSGI, *FLAGS, *flags, cwd=APPS, parameters={"begins": "fails"})
    for _ in range(5):
        server.get()
    line = server.wait_log("refork: the first worker of the new mold failed")
    assert "is no good" in server.log
    assert line.endswith("generation 1 serves on")
    server.get()
    assert server.stop() == 0


def test_a_function_that_fails_prevents_it(serve: Serve) -> None:
    flags = ("--mold-ready", "refork:close")
    server = serve(WSGI, *FLAGS, *flags, cwd=APPS, parameters={"begins": "fails"})
    for _ in range(5):
        server.get()
    line = server.wait_log("cannot become a mold")
    assert "the function of --mold-ready failed: RuntimeError('nothing is closed'); generation 1" in line
    server.get()
    assert server.stop() == 0


def test_a_mold_that_is_made_meanwhile_has_nothing_of_it(serve: Serve) -> None:
    with candidate(serve, slow_s=4.0) as (server, pid, _):
        during = descriptors_of_another_mold(server)
        server.wait_log("refork: every worker is of generation 2")
        assert json.loads(server.get())["maker"] == pid
        wait_until(lambda: not server.workers("draining"), "the end of the others")
        assert descriptors_of_another_mold(server) == during
        assert server.stop() == 0


def descriptors_of_another_mold(server: Server) -> int:
    """Kills the mold. How many descriptors the next one has."""
    (mold,) = [one for one in children(server.pid) if one not in server.workers()]
    loads = server.log.count("the application is loaded again")
    os.kill(mold, signal.SIGKILL)
    wait_until(lambda: server.log.count("the application is loaded again") > loads, "another mold")
    (mold,) = [one for one in children(server.pid) if one not in server.workers()]
    return server.descriptors(mold)


def test_a_canary_looks_at_its_workers(serve: Serve) -> None:
    flags = ("--workers", "3", "--canary", "30%", "--canary-window", "1")
    server = serve(WSGI, *FLAGS, *flags)
    wait_until(lambda: server.get() and "every worker is of generation 2" in server.log, "it", 60)
    assert "canary: generation 2 serves as well" in server.log


def test_a_child_of_the_application_has_nothing_of_the_pool(serve: Serve) -> None:
    without: list[str] = json.loads(serve(WSGI, "--workers", "1").get("/forks"))
    found: list[str] = json.loads(serve(WSGI, *FLAGS).get("/forks"))
    assert kinds(found) == kinds(without)


def kinds(links: list[str]) -> list[str]:
    return sorted(re.sub(r"\[\d+\]", "", link) for link in links)
