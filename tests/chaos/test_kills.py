"""Processes that are killed or kill themselves: whose requests fail, what is left, how soon all is well."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from prefork.pool.scoreboard import list_glues
from support.load import Load
from support.pool import MakePool, Pool
from support.processes import alive, children, wait_ended
from support.waiting import wait_until

FOUR = {
    "start_servers": 4,
    "min_spare_servers": 4,
    "max_spare_servers": 4,
    "max_clients": 4,
    "check_spares_interval": 60,
}


def test_kill_9_of_a_worker_under_load_fails_only_its_own_requests(pool: MakePool) -> None:
    server = pool(**FOUR)
    server.wait_workers(4)
    took_ms = []
    with Load(server, 12) as load:
        for victim in server.workers():
            load.more(50)
            connections = next(w["connections"] for w in server.status()["workers"] if w["pid"] == victim)
            lost = len(load.lost)
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            server.wait_without({victim})
            wait_until(lambda: server.totals["workers"] == 4 and not server.totals["starting"], "a full pool")
            took_ms.append(round((time.monotonic() - began) * 1000))
            load.more(50)
            assert len(load.lost) - lost <= connections
    print(f"full again after {took_ms} ms; lost {len(load.lost)} of {load.responses.total()}")
    assert max(took_ms) < 500
    assert load.refused == 0
    assert len([line for line in server.err if "killed by SIGKILL" in line]) == 4


def refuses(server: Pool) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("load", ["idle", "held"])
def test_kill_9_of_the_manager_leaves_nothing_and_the_same_glue_starts_again(
    pool: MakePool, load: str
) -> None:
    server = pool("--glue", "prefork-test-killed", **FOUR)
    workers = server.wait_workers(4)
    if load == "held":
        server.hold(3)
        wait_until(lambda: server.totals["active"] == 3, "three held")
    began = time.monotonic()
    server.process.kill()
    wait_until(lambda: not any(map(alive, workers)), "the workers to end")
    # One that has ended for us may have a thread that is still about to close the listener.
    wait_until(lambda: refuses(server), "the port to be closed")
    assert "prefork-test-killed" not in list_glues()
    took_s = time.monotonic() - began
    print(f"all gone after {took_s * 1000:.0f} ms")
    assert took_s < 1
    again = pool("--glue", "prefork-test-killed", "--bind", f"127.0.0.1:{server.port}", **FOUR)
    assert again.get("/one") == b"one"
    assert "0 workers" not in again.out[0]


def test_kill_9_of_the_manager_amid_forks_leaves_no_worker(pool: MakePool) -> None:
    for delay_s in (0.0, 0.001, 0.002, 0.004, 0.008):
        server = pool(start_servers=40, min_spare_servers=40, max_spare_servers=40, max_clients=64)
        before = set(children(server.pid))
        server.hold(40)
        time.sleep(delay_s)  # a moment amid the growth, any will do
        before |= set(children(server.pid))
        group = os.getpgid(server.pid)
        assert group == os.getpgid(0)
        server.process.kill()
        wait_ended(before)
        assert not orphans_of(server)
        server.kill()


def orphans_of(server: Pool) -> list[int]:
    """Processes that still have the server's target on their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                ours = os.fsencode(server.directory) in file.read()
        except OSError:
            continue
        if ours and alive(int(name)):
            found.append(int(name))
    return found


HANG = "os.path.exists('hang') and time.sleep(600)"
NATIVE = "ctypes.CDLL(None).__register_atfork(None, None, ctypes.CDLL(None).pause, None)"


@pytest.mark.parametrize(
    "more",
    [f"os.register_at_fork(after_in_child=lambda: {HANG})", f"pages.names['hang'] = lambda: {NATIVE}"],
    ids=["Python", "native"],
)
def test_a_worker_that_hangs_in_a_function_at_forks_dies_with_its_manager(pool: MakePool, more: str) -> None:
    server = pool(**FOUR, more="import ctypes, os, time\n" + more)
    before = set(server.wait_workers(4))
    (server.directory / "hang").touch()
    if "names" in more:
        server.manager("[hang(), None][1]")
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: set(children(server.pid)) - before, "a worker that hangs")
    processes = children(server.pid)
    server.process.kill()
    wait_ended(processes)


def test_spares_are_there_again_at_once_while_a_worker_is_killed_each_tenth_of_a_second(
    pool: MakePool,
) -> None:
    """These are killed from outside: that brakes nothing."""
    server = pool(
        start_servers=4,
        min_spare_servers=2,
        max_spare_servers=4,
        max_clients=8,
        check_spares_interval=60,
    )
    server.wait_workers(4)
    chosen, took_ms = random.Random(7), []
    with Load(server, 4, pause_s=0.002) as load:
        for _ in range(30):
            began = time.monotonic()
            os.kill(chosen.choice(server.workers()), signal.SIGKILL)
            wait_until(lambda: server.totals["spare"] >= 2, "spares")
            took_ms.append((time.monotonic() - began) * 1000)
            time.sleep(max(0.0, began + 0.1 - time.monotonic()))
        load.more(50)
    print(f"2 spares after at most {max(took_ms):.0f} ms")
    wait_until(lambda: server.totals["spare"] >= 2, "spares")
    assert "as soon as they were ready" not in server.log
    assert load.refused == 0
    assert len(load.lost) <= 30 * 4


def test_os_exit_in_a_handler_ends_that_worker_alone_and_it_is_replaced(pool: MakePool) -> None:
    server = pool(**FOUR)
    old = server.wait_workers(4)
    assert server.raw(b"GET /do?os._exit(0) HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    line = server.wait_log("ended: exit status 0")
    (victim,) = (pid for pid in old if f"worker {pid} " in line)
    wait_until(lambda: victim not in server.workers(), "it to be gone")
    assert set(server.wait_workers(4)) >= set(old) - {victim}
    assert server.raw(b"GET /do?os._exit(7) HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    server.wait_log("ended: exit status 7")
    server.wait_workers(4)
    assert server.get("/one") == b"one"


def test_a_segmentation_fault_in_a_handler_ends_that_worker_alone(pool: MakePool) -> None:
    server = pool(**FOUR)
    old = server.wait_workers(4)
    assert server.raw(b"GET /do?ctypes.string_at(0) HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    server.wait_log("killed by SIGSEGV")
    wait_until(lambda: set(server.workers()) != set(old), "its replacement")
    assert len(set(server.wait_workers(4)) & set(old)) == 3


def test_sys_exit_in_a_handler_ends_its_request_alone(pool: MakePool) -> None:
    server = pool(**FOUR)
    old = server.wait_workers(4)
    assert server.request("/do?sys.exit(5)")[0] == 500
    server.wait_log("SystemExit: 5")
    assert set(server.wait_workers(4)) == set(old)


def test_a_worker_that_dies_while_it_drains_is_reported(pool: MakePool) -> None:
    server = pool(**FOUR)
    server.wait_workers(4)
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "one held")
    (victim,) = server.workers("active")
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: server.workers("draining") == [victim], "it drains")
    os.kill(victim, signal.SIGKILL)
    server.wait_log(f"worker {victim} ended: killed by SIGKILL")


def test_descriptors_of_the_manager_do_not_grow_over_200_deaths(pool: MakePool) -> None:
    server = pool("--workers", "10", "--log-level", "critical")
    server.wait_workers(10)
    before = server.manager("descriptors()")
    for _ in range(20):
        old = set(server.workers())
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        server.wait_without(old)
        server.wait_workers(10)
    manager = server.status()["manager"]
    assert manager["died"] >= 200
    assert manager["forked"] == manager["died"] + 10
    assert server.manager("descriptors()") == before
    assert len(children(server.pid)) == 10, "no zombies"
    assert server.get("/one") == b"one"
