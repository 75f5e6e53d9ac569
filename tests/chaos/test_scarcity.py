"""What the kernel refuses: processes, descriptors, memory. The server goes on with what it has, says so once,
and recovers."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prefork.errors import ScoreboardUnavailable
from support.apps import APPS
from support.pool import MakePool, Pool, start_pool
from support.server import Server, run_prefork, start_process
from support.waiting import DEADLINE_S, wait_until

OTHER_USER = 54321
"""A user of whom nothing else runs: the limit counts a user's processes, and root is above it."""

TWO: dict[str, Any] = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 8,
    "check_spares_interval": 0.05,
}
LIMITS = "pool_limits.py"
HELLO = APPS / "hello.py"


def limit(server: Pool, what: str, soft: int | None) -> None:
    """Sets a soft limit of the manager; None: as high as it may be."""
    hard = f"resource.getrlimit(resource.{what})[1]"
    server.manager(f"resource.setrlimit(resource.{what}, ({hard if soft is None else soft}, {hard}))")


def forbid_forks(server: Pool) -> None:
    if os.geteuid() == 0:
        server.manager(f"os.setresuid({OTHER_USER}, {OTHER_USER}, 0)")
    limit(server, "RLIMIT_NPROC", 1)


def allow_forks(server: Pool) -> None:
    limit(server, "RLIMIT_NPROC", None)
    if os.geteuid() == 0:
        server.manager("os.setresuid(0, 0, 0)")


@pytest.mark.parametrize("descriptors", range(6, 9))
def test_a_server_without_descriptors_for_its_own_loop_or_socket_is_one_line(descriptors: int) -> None:
    limited = ("prlimit", f"--nofile={descriptors}:{descriptors}")
    finished = run_prefork("serve", str(HELLO), "--bind", "127.0.0.1:0", prefix=limited)
    assert finished.returncode == 2
    assert "Too many open files" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1, finished.stderr


def test_a_pool_that_lacks_descriptors_at_its_start_says_so_and_ends_well() -> None:
    """For its shared memory, for the loop of its workers, for a worker: wherever they run out."""
    with contextlib.ExitStack() as stack:
        servers = []
        for descriptors in range(18, 28):
            servers.append(Server(start_process(*PATIENT, preexec_fn=few(descriptors))))
            stack.callback(servers[-1].kill)
        for server in servers:
            wait_until(partial(any, [server.err, server.out]), "a line")
            assert server.stop() == 0
            assert "Traceback" not in server.log
            assert "None" not in server.log
        assert any("Too many open files" in server.log for server in servers)


PATIENT = (str(APPS / "stopping.py"), "--bind", "127.0.0.1:0", "--workers", "1", "--boot-failures", "1000")


def few(descriptors: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


def test_when_no_process_can_be_forked_it_goes_on_says_so_once_and_recovers(pool: MakePool) -> None:
    server = pool(**TWO, app=LIMITS)
    victim, other = server.wait_workers(2)
    forbid_forks(server)
    os.kill(victim, signal.SIGKILL)
    line = server.wait_log("cannot spawn a worker")
    assert "Resource temporarily unavailable" in line
    assert "going on with 1" in line
    assert {int(server.get("/pid")) for _ in range(20)} == {other}
    wait_until(lambda: server.manager("server._role._supervisor._state.failures") >= 3, "two more tries")
    assert server.log.count("cannot spawn a worker") == 1
    allow_forks(server)
    server.wait_log("workers are spawned again")
    server.wait_workers(2)
    assert server.stop() == 0


def test_when_none_can_be_forked_the_busy_accept_as_well(pool: MakePool) -> None:
    server = pool(**TWO, app=LIMITS)
    server.wait_workers(2)
    forbid_forks(server)
    server.hold(2, "/ahold")
    wait_until(lambda: server.status()["manager"]["overcommit"], "no spare")
    assert server.get("/one") == b"one"
    allow_forks(server)
    server.wait_spares(2)
    assert len(server.release()) == 2


def test_when_the_manager_is_out_of_descriptors_it_goes_on_says_so_once_and_recovers(pool: MakePool) -> None:
    server = pool(**TWO, app=LIMITS)
    workers = server.wait_workers(2)
    before = server.manager("descriptors()")
    assert server.manager("fill()") > 10
    server.hold(1, "/ahold")
    server.wait_log("cannot spawn a worker: Too many open files")
    assert int(server.get("/pid")) in workers
    wait_until(lambda: server.manager("server._role._supervisor._state.failures") >= 3, "two more tries")
    assert server.manager("server.workers") == workers
    assert server.log.count("cannot spawn a worker") == 1
    server.manager("empty()")
    server.wait_log("workers are spawned again")
    server.wait_spares(2)
    server.release()
    server.wait_workers(2)
    assert server.manager("descriptors()") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_worker_that_gets_no_thread_for_its_guard_says_so_in_one_line_and_is_tried_again(
    pool: MakePool,
) -> None:
    server = pool(**TWO, app=LIMITS, parameters={"user": OTHER_USER})
    victim, _ = server.wait_workers(2)
    (server.directory / "fail").touch()
    os.kill(victim, signal.SIGKILL)
    line = server.wait_log("worker failed to start: the system refuses it a descriptor, memory or a thread")
    assert "a thread (Resource temporarily unavailable" in line
    assert "pids.max" in line
    server.wait_log("ended before it was ready (exit status 3)")
    (server.directory / "fail").unlink()
    server.wait_workers(2)
    assert "Traceback" not in server.log


def test_a_request_for_the_scoreboard_while_descriptors_are_out_is_refused(pool: MakePool) -> None:
    server = pool(**TWO, app=LIMITS)
    server.wait_workers(2)
    server.manager("fill()")
    for _ in range(5):
        with pytest.raises(ScoreboardUnavailable):
            server.status()
    ticks, began = _cpu_ticks(server.pid), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.3, "a while")
    assert _cpu_ticks(server.pid) - ticks < 10, "it waits, and does not ask again and again"
    server.manager("empty()")
    server.wait_workers(2)


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def can_be_asked(server: Pool) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        server.manager("server")
        return True
    return False


@pytest.fixture
def unserved(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A pool that has found no shared memory. It tries again each half second, or as a test sets it."""
    retry_s = getattr(request, "param", 0.5)
    server = start_pool(tmp_path, **TWO, prefork_interval=retry_s, app=LIMITS, parameters={"no_memory": True})
    server.wait_log("cannot create the scoreboard")
    wait_until(lambda: can_be_asked(server), "the remote control of the manager")
    yield server
    server.kill()


def test_without_shared_memory_it_is_tried_again_each_preforkinterval(unserved: Pool) -> None:
    assert "File too large" in unserved.log
    assert "trying again every 0.5 s" in unserved.log
    assert unserved.out == [], "it does not serve yet"
    tried = wait_until(lambda: unserved.manager("server._role._retry.when()"), "a timer")
    wait_until(lambda: unserved.manager("server._role._retry.when()") > tried, "one more try")
    assert unserved.log.count("cannot create the scoreboard") == 1, "said once"
    limit(unserved, "RLIMIT_FSIZE", None)
    unserved.wait_serving()
    assert unserved.get("/one") == b"one"
    unserved.wait_spares(2)
    assert unserved.stop() == 0


def test_a_client_that_comes_before_the_memory_is_served_by_the_first_worker(unserved: Pool) -> None:
    unserved.host, unserved.port = "127.0.0.1", unserved.manager("server.listening.port")
    with unserved.connect() as sock:
        sock.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        limit(unserved, "RLIMIT_FSIZE", None)
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("unserved", [60], indirect=True, ids=["retry_s=60"])
@pytest.mark.parametrize("how", ["TERM", "SHUTDOWN", "SHUTDOWN GRACEFUL"])
def test_shutdown_while_memory_is_awaited_ends_at_once(unserved: Pool, how: str) -> None:
    unserved.host, unserved.port = "127.0.0.1", unserved.manager("server.listening.port")
    if how == "TERM":
        unserved.signal(signal.SIGTERM)
    else:
        unserved.manager(f"[remote.close(), kernel.post('HTTPD', *{how.split()!r})]")
    assert unserved.process.wait(DEADLINE_S) == 0, "not when the timer rings"
    with pytest.raises(ConnectionRefusedError):
        unserved.connect()


def test_stoplisten_while_memory_is_awaited_and_startlisten_after_it_is_there(unserved: Pool) -> None:
    unserved.manager("server.stop_listen()")
    limit(unserved, "RLIMIT_FSIZE", None)
    assert unserved.manager("server._role._retry is None")
    unserved.manager("server.start_listen()")
    unserved.wait_serving()
    assert unserved.get("/one") == b"one"
