"""The fork happens between two turns of the loop: the manager goes on, the child begins anew."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

import pytest

from prefork.pool.scoreboard import list_glues
from support.apps import APPS
from support.pool import MakePool, pid_serving
from support.processes import children
from support.waiting import wait_until

ONE = {"start_servers": 1, "min_spare_servers": 1, "max_spare_servers": 1, "max_clients": 9}


def test_the_manager_goes_on_with_timers_tasks_and_sockets_while_it_forks(pool: MakePool) -> None:
    server = pool(**ONE, app="pool_beats.py")
    before = server.manager("beat.beats"), server.manager("beat.ticks")
    for count in range(1, 6):
        server.hold(1)
        server.wait_active(count)
        server.wait_spares(1)
    assert server.status()["manager"]["forked"] == 6
    wait_until(lambda: server.manager("beat.beats") > before[0] + 10, "beats")
    wait_until(lambda: server.manager("beat.ticks") > before[1] + 10, "ticks")
    wait_until(lambda: len(server.manager("beat.rang")) > 2, "rings")
    assert {tuple(pids) for pids in server.manager("beat.rang")} == {(server.pid, server.pid)}


def test_a_child_has_none_of_its_parents_timers_tasks_or_posts(pool: MakePool) -> None:
    server = pool("--workers", "1", app="pool_beats.py")
    look = "[len(kernel._timers), len(kernel._tasks), kernel._counts()[1], beat.beats]"
    wait_until(lambda: server.worker(look)[:3] == [0, 0, 0], "the end of its own beginning")
    first = server.worker(look)
    wait_until(lambda: server.manager("beat.beats") > first[3] + 5, "the manager's beats")
    assert server.worker(look) == first


def test_a_child_keeps_sessions_aliases_and_handlers(pool: MakePool) -> None:
    server = pool(**ONE, app="pool_beats.py")
    look = "[sorted(kernel._registry.targets), server.get_handlers() == HANDLERS]"
    assert server.worker(look) == server.manager(look) == [["BEAT", "HTTPD", "PAGES", "REMOTE"], True]


def test_a_child_has_timers_tasks_and_signals_of_its_own(pool: MakePool) -> None:
    server = pool("--workers", "1")
    assert server.worker("kernel.delay(0.01, 'PAGES', 'record', 'rang') is not None")
    wait_until(lambda: server.worker("pages.reported") == [["rang"]], "the timer")
    server.worker("kernel.signal(10, 'PAGES', 'record')")
    server.worker("os.kill(os.getpid(), 10)")
    wait_until(lambda: server.worker("pages.reported") == [["rang"], [10]], "the signal")
    assert server.manager("pages.reported") == []


def test_what_is_printed_before_the_fork_is_printed_once(pool: MakePool) -> None:
    server = pool("--workers", "4", more="print('hello', end='')\n", env={"PYTHONUNBUFFERED": ""})
    server.wait_workers(4)
    assert server.stop() == 0
    assert "".join(server.out).count("hello") == 1


def test_a_worker_holds_no_descriptor_of_its_manager_but_the_listener(pool: MakePool) -> None:
    server = pool(**ONE)
    server.wait_workers(1)
    opened = []
    for count in range(1, 5):
        server.hold(1)
        server.wait_active(count)
        server.wait_spares(1)
        with server.connect() as sock:
            # One that serves has started: before, it has the pipe for the report of a failed start.
            opened.append(server.descriptors(pid_serving(sock)))
    assert len(set(opened)) == 1, opened


def test_run_does_not_return_in_a_worker() -> None:
    done = subprocess.run(
        [sys.executable, str(APPS / "run_once.py")],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("once\n", "")


def test_two_pools_and_a_server_without_one_live_in_one_kernel_and_let_go_of_each_other(
    pool: MakePool,
) -> None:
    server = pool("--log-level", "debug", app="pool_neighbours.py")
    urls = server.manager("{name: kernel.find(name).url for name in ('HTTPD', 'OTHER', 'ALONE')}")

    def fetch(name: str) -> int:
        with urllib.request.urlopen(urls[name] + "/pid", timeout=5) as response:
            return int(response.read())

    assert fetch("ALONE") == server.pid
    assert fetch("OTHER") in server.manager("kernel.find('OTHER').workers")
    assert fetch("HTTPD") in server.manager("server.workers")
    server.manager("kernel.post('OTHER', 'SHUTDOWN', 'GRACEFUL')")
    wait_until(lambda: server.manager("kernel.find('OTHER') is None"), "the other to be gone")
    assert "prefork-test-other" not in list_glues(), "a worker of the first pool holds the glue of the second"
    server.manager("kernel.post('ALONE', 'SHUTDOWN', 'GRACEFUL')")
    wait_until(lambda: server.manager("kernel.find('ALONE') is None"), "the server to be gone")
    for name in ("OTHER", "ALONE"):
        with pytest.raises(OSError, match="refused"):
            fetch(name)
    assert fetch("HTTPD") in server.manager("server.workers")
    assert len(children(server.pid)) == len(server.manager("server.workers"))
    assert server.stop() == 0
