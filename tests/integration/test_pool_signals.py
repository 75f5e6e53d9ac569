"""What signals do to a pool: to its manager, to one worker, to the whole process group."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

from support.pool import MakePool, Pool
from support.processes import alive
from support.responses import read_all, read_response
from support.server import run_prefork
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 8,
    "check_spares_interval": 0.05,
}
TERM_AND_INT = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])


def hold_two(server: Pool, path: str = "/ahold") -> list[int]:
    server.wait_workers(2)
    server.hold(2, path)
    wait_until(lambda: server.totals["active"] == 2, "two held")
    return server.workers("active")


def test_the_command_reload_replaces_the_workers_of_its_pool(pool: MakePool) -> None:
    server, other = pool(**TWO), pool(**TWO)
    old, others = set(server.wait_workers(2)), set(other.wait_workers(2))
    done = run_prefork("reload", "--glue", str(server.glue))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"pool {server.glue}: every worker is of generation 2 (")
    assert old.isdisjoint(server.workers("spare", "active", "starting"))
    assert len(server.workers("spare")) == 2
    assert set(other.workers()) == others
    assert "prefork.control" not in other.log


def test_the_command_reload_sends_a_signal_to_a_pool_without_a_control_socket(pool: MakePool) -> None:
    server = pool("--control-socket", "off", **TWO)
    old = set(server.wait_workers(2))
    done = run_prefork("reload", "--glue", str(server.glue))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"pool {server.glue}: manager {server.pid} reads its certificates again")
    wait_until(lambda: old.isdisjoint(server.workers()) and len(server.workers("spare")) == 2, "new ones")
    assert "HUP: replacing every worker" in server.log


def test_the_command_reload_names_a_pool_that_is_not_there() -> None:
    done = run_prefork("reload", "--glue", "prefork-unknown")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("prefork: expected a running server with glue 'prefork-unknown', found")
    assert done.stderr.count("\n") == 1


@TERM_AND_INT
def test_a_signal_lets_open_requests_be_served_and_ends_with_status_0(pool: MakePool, signum: int) -> None:
    server = pool(**TWO)
    held = hold_two(server)
    everyone = server.workers()
    server.signal(signum)
    server.wait_log(f"{signal.Signals(signum).name}: stopping when all requests are finished")
    wait_until(lambda: server.totals["workers"] == 2, "the idle workers to go")
    assert sorted(map(int, server.release())) == sorted(held)
    assert server.wait() == 0
    assert not any(map(alive, everyone))
    assert server.log.count("\n") == 0, server.log


@TERM_AND_INT
def test_a_second_signal_ends_at_once(pool: MakePool, signum: int) -> None:
    server = pool(**TWO)
    hold_two(server, "/hold")
    everyone = server.workers()
    server.signal(signum)
    server.wait_log("stopping when")
    assert server.process.poll() is None
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert "SIGINT again: stopping at once" in server.log
    assert not any(map(alive, everyone))
    assert "Traceback" not in server.log


def test_ctrl_c_reaches_the_whole_group_and_still_lets_requests_be_served(pool: MakePool) -> None:
    server = pool(**TWO, start_new_session=True)
    held = hold_two(server)
    os.killpg(server.pid, signal.SIGINT)
    server.wait_log("SIGINT: stopping when")
    assert sorted(map(int, server.release())) == sorted(held)
    assert server.wait() == 0
    assert server.log.count("\n") == 0, server.log


def test_ctrl_c_twice_ends_at_once_and_quietly(pool: MakePool) -> None:
    server = pool(**TWO, start_new_session=True)
    hold_two(server)
    os.killpg(server.pid, signal.SIGINT)
    server.wait_log("SIGINT: stopping when")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_ctrl_c_while_the_workers_begin_leaves_none_behind(pool: MakePool) -> None:
    server = pool(
        **TWO,
        fork_handlers={"PAGES": "begin"},
        app="pool_boot.py",
        parameters={"begin": "hangs without go"},
        ready=False,
        start_new_session=True,
    )
    workers = server.workers("starting")
    assert len(workers) == 2
    began = time.monotonic()
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert time.monotonic() - began < 20, "their handlers would block for longer"
    assert not any(map(alive, workers))
    first, *others = server.log.splitlines()
    assert "SIGINT: stopping" in first
    assert all("interrupted the startup" in line for line in others), server.log


def test_term_to_one_worker_retires_it_alone(pool: MakePool) -> None:
    server = pool(**TWO)
    first, second = hold_two(server)
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: server.workers("draining") == [first], "it drains")
    assert first in map(int, server.release())
    wait_until(lambda: not alive(first), "the first to end")
    assert second in server.wait_workers(2)
    assert server.log == "", "no news"


def test_term_to_a_worker_that_begins_and_blocks_ends_it_and_it_is_replaced(pool: MakePool) -> None:
    server = pool(
        start_servers=1,
        min_spare_servers=1,
        max_clients=1,
        fork_handlers={"PAGES": "begin"},
        app="pool_boot.py",
        parameters={"begin": "hangs without go"},
        ready=False,
    )
    (worker,) = server.workers("starting")
    (server.directory / "go").touch()
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: not alive(worker), "its end")
    assert server.wait_workers(1) != [worker]


def test_int_to_one_worker_is_left_to_its_manager(pool: MakePool) -> None:
    server = pool(**TWO)
    first, second = server.wait_workers(2)
    os.kill(first, signal.SIGINT)
    os.kill(second, signal.SIGINT)
    assert int(server.get("/pid")) in (first, second)
    assert {first, second} <= set(server.workers())


def test_a_signal_ends_the_process_whatever_else_its_sessions_do(pool: MakePool) -> None:
    # The remote control reads a socket, and this timer is set again for ever.
    more = "pages._handlers['again'] = lambda: kernel.delay(0.01, 'PAGES', 'again') and None\n"
    server = pool(**TWO, more=more + "server.on_serving.append(lambda _: kernel.post('PAGES', 'again'))\n")
    server.wait_workers(2)
    assert server.stop() == 0


def test_a_signal_to_a_server_without_a_pool_does_the_same(pool: MakePool) -> None:
    server = pool(start_servers=0)
    (held,) = server.hold(1, "/ahold")
    wait_until(lambda: server.manager("kernel.engine.in_flight") == 1, "one held")
    server.signal(signal.SIGTERM)
    server.wait_log("SIGTERM: stopping when")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert read_all(held) == b""


def test_a_kept_connection_gets_connection_close_when_the_server_stops(pool: MakePool) -> None:
    server = pool("--workers", "1")
    with server.connect() as sock:
        sock.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.totals["active"] == 1, "one held")
        server.signal(signal.SIGTERM)
        wait_until(lambda: server.totals["draining"] == 1, "it drains")
        server.release()
        status, fields, _ = read_response(sock)
        assert (status, fields["connection"]) == (200, "close")
        assert sock.recv(1) == b""
    assert server.wait() == 0


def test_hup_to_the_group_replaces_every_worker(pool: MakePool) -> None:
    server = pool(**TWO, start_new_session=True)
    before = server.wait_workers(2)
    os.killpg(server.pid, signal.SIGHUP)
    wait_until(
        lambda: not set(before) & set(server.workers()) and len(server.workers("spare")) == 2, "new ones"
    )
    assert "HUP: replacing every worker" in server.log
    assert server.status()["manager"]["generation"] == 2
    assert server.stop() == 0


# --- signals that do something in gunicorn ------------------------------------------------------------------

UNUSED = {
    signal.SIGUSR1: "there is no access log",
    signal.SIGUSR2: "what a program has of its own cannot be handed to another process; restart it",
    signal.SIGTTIN: "the pool sizes itself, by --min-spare, --max-spare and --max-clients",
    signal.SIGTTOU: "the pool sizes itself, by --min-spare, --max-spare and --max-clients",
}
ALONE = UNUSED | {
    signal.SIGUSR2: "new code takes a restart",
    signal.SIGTTIN: "there is no pool",
    signal.SIGTTOU: "there is no pool",
}


@pytest.mark.parametrize(
    ("options", "instead"), [(TWO, UNUSED), ({"start_servers": 0}, ALONE)], ids=["pool", "alone"]
)
def test_a_signal_that_means_something_elsewhere_logs_what_is_here_instead(
    pool: MakePool, options: dict[str, Any], instead: dict[int, str]
) -> None:
    server = pool(**options)
    workers = server.wait_workers(2) if options == TWO else []
    for _ in range(2):  # a second one is handled as the first
        for signum in instead:
            count = len(server.err)
            server.signal(signum)
            server.wait_lines(count + 1)
    lines = [re.sub(r".* (WARNING) ", r"\1 ", line) for line in server.err]
    assert [line.partition(" changes nothing: ")[0] for line in lines] == [
        f"WARNING prefork.server: {signal.Signals(signum).name}" for signum in (*instead, *instead)
    ]
    assert all(line.endswith(reason) for line, reason in zip(lines, [*instead.values()] * 2, strict=True))
    assert server.manager("server.workers") == workers
    assert int(server.get("/pid")) in (workers or [server.pid])
    assert server.stop() == 0


def test_a_signal_that_the_application_handles_is_its_own(pool: MakePool) -> None:
    server = pool(**TWO, app="pool_handled_signals.py")
    server.wait_workers(2)
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN):
        server.signal(signum)
    wait_until(lambda: len(server.manager("pages.reported")) == 2, "both that were handled")
    assert sorted(server.manager("pages.reported"), key=str) == [["TTIN"], [signal.SIGUSR1]]
    assert server.stop() == 0
    assert "changes nothing" not in server.log


def test_a_signal_that_the_manager_handles_is_not_for_its_workers(pool: MakePool) -> None:
    server = pool(**TWO)
    first, second = server.wait_workers(2)
    os.kill(first, signal.SIGUSR1)
    assert str(first) in server.wait_log("killed by SIGUSR1")
    assert second in server.wait_workers(2)
    assert "changes nothing" not in server.log
