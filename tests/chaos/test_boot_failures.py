"""Workers that fail to start: they are tried again with pauses, and the others go on."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.pool import MakePool
from support.processes import children
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 8,
    "fork_handlers": {"PAGES": "begin"},
}
BOOT = "pool_boot.py"
FAIL_AT_ONCE = {"begin": "an exception", "fail_at_once": True}
FAILURES = {
    "an exception": "exit status 3",
    "an exit": "exit status 9",
    "a hard exit": "exit status 8",
    "a crash": "killed by SIGSEGV",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_in_a_fork_handler_replaces_that_worker_with_pauses_and_the_others_live(
    pool: MakePool, failure: str
) -> None:
    server = pool(**TWO, app=BOOT, parameters={"begin": failure})
    first, second = server.wait_workers(2)
    (server.directory / "fail").touch()
    server.hold(1, "/ahold")
    assert FAILURES[failure] in server.wait_log("ended before it was ready")
    began = time.monotonic()
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 3, "three tries")
    assert time.monotonic() - began > 0.25, "0.1 s, then 0.2 s, then 0.4 s"
    assert {first, second} <= set(server.workers())
    assert server.get("/one") == b"one"
    (server.directory / "fail").unlink()
    server.wait_spares(2)
    failed = server.status()["manager"]["boot_failed"]
    server.release()
    assert failed == server.status()["manager"]["boot_failed"]


def test_an_exception_in_an_asynchronous_fork_handler_is_logged_with_its_place(pool: MakePool) -> None:
    server = pool(
        **TWO, boot_failures=0, app=BOOT, parameters={"begin": "an exception in a coroutine"}, ready=False
    )
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    assert "ValueError: no database" in server.log
    assert f'{BOOT}", line ' in server.log


def test_when_every_worker_fails_the_server_goes_on_trying_and_recovers(pool: MakePool) -> None:
    server = pool(**TWO, boot_failures=0, app=BOOT, parameters=FAIL_AT_ONCE, ready=False)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    with server.connect() as waiting:
        waiting.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (server.directory / "fail").unlink()
        assert waiting.recv(100).startswith(b"HTTP/1.1 200"), "it waited for the first worker"
    server.wait_spares(2)


def test_when_only_some_fail_the_others_are_kept_and_the_pool_is_filled(pool: MakePool) -> None:
    # All three may fail before another is ready.
    server = pool(**TWO, boot_failures=4, app=BOOT, parameters={"begin": "an exception in the first three"})
    server.wait_spares(2)
    assert server.status()["manager"]["boot_failed"] == 3


def test_term_ends_a_pool_whose_workers_cannot_begin(pool: MakePool) -> None:
    server = pool(**TWO, boot_failures=0, app=BOOT, parameters=FAIL_AT_ONCE, ready=False)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - began < 3


def test_workers_that_die_as_soon_as_they_are_spare_do_not_make_a_storm(pool: MakePool) -> None:
    # Its fork handlers were fine; what they left behind ends it a moment later.
    server = pool(**TWO, app=BOOT, parameters={"begin": "dies soon"})
    before, began = server.status()["manager"]["forked"], time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1, "a second")
    forked = server.status()["manager"]["forked"] - before
    print(f"{forked} forks in a second")
    assert forked < 12, "as fast as they can would be many hundreds"


def test_a_child_that_cannot_make_its_loop_does_not_go_on_as_a_second_manager(pool: MakePool) -> None:
    server = pool(**TWO | {"fork_handlers": {"PAGES": "forked"}}, app="pool_without_loop.py")
    server.wait_workers(2)
    (server.directory / "fail").touch()
    server.hold(1)
    assert "exit status 1" in server.wait_log("ended before it was ready")
    assert "a child failed to start: the system refuses it a descriptor" in server.log
    assert "Traceback" not in server.log
    (server.directory / "fail").unlink()
    server.wait_spares(2)
    assert sorted(children(server.pid)) == sorted(server.workers())


def test_a_fork_handler_that_never_ends_is_timed_out(pool: MakePool) -> None:
    server = pool(
        **TWO, boot_timeout=0.2, check_spares_interval=0.05, app=BOOT, parameters={"begin": "a hang"}
    )
    victim, other = server.wait_workers(2)
    (server.directory / "fail").touch()
    os.kill(victim, signal.SIGKILL)
    server.wait_log("it did not start within boot_timeout (0.2 s)")
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two of them to be counted")
    assert {int(server.get("/pid")) for _ in range(5)} == {other}
    (server.directory / "fail").unlink()
    server.wait_workers(2)
    failed = server.status()["manager"]["boot_failed"]
    assert server.stop() == 0
    assert server.log.count("it did not start within boot_timeout (0.2 s)") == failed


def test_a_program_that_ignores_the_end_of_its_children_survives_workers_that_die_at_once(
    pool: MakePool,
) -> None:
    """The system has reaped such a worker before its manager can look at it."""
    # Some may be so slow that they find nothing to fail of any more: those are soon retired.
    server = pool(
        start_servers=60,
        min_spare_servers=2,
        max_spare_servers=2,
        check_spares_interval=0.02,
        fork_handlers={"PAGES": "begin"},
        app=BOOT,
        parameters={"begin": "a hard exit", "fail_at_once": True, "ignore_children": True},
        boot_failures=0,
        ready=False,
    )
    (server.directory / "fail").unlink()
    server.wait_spares(2)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("failure", FAILURES)
def test_a_server_whose_workers_can_never_begin_ends_with_the_first_error(
    pool: MakePool, failure: str
) -> None:
    server = pool(
        **TWO, app=BOOT, parameters={"begin": failure, "fail_at_once": True}, boot_failures=2, ready=False
    )
    assert server.wait() == 3
    last = server.err[-1]
    expected = "ValueError: no database" if failure == "an exception" else FAILURES[failure]
    assert last.startswith("prefork: no worker was ever ready, in 2 attempts (--boot-failures); the first")
    assert expected in last
    assert server.out == [], "it has never been serving"


def test_a_server_whose_workers_never_end_their_start_ends_as_well(pool: MakePool) -> None:
    server = pool(
        **TWO,
        boot_timeout=0.1,
        boot_failures=1,
        app=BOOT,
        parameters={"begin": "a hang", "fail_at_once": True},
        ready=False,
    )
    assert server.wait() == 3
    assert server.err[-1].endswith(" did not start within boot_timeout")


def test_a_worker_that_was_ready_once_is_hope_for_ever(pool: MakePool) -> None:
    server = pool(**TWO, boot_failures=1, app=BOOT, parameters={"begin": "an exception"})
    server.wait_workers(2)
    (server.directory / "fail").touch()
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 3, "three tries")
    (server.directory / "fail").unlink()
    server.wait_spares(2)


def test_the_line_of_a_server_that_serves_comes_with_the_first_spare(pool: MakePool) -> None:
    server = pool(**TWO, app=BOOT, parameters={"begin": "waits for go"}, ready=False)
    assert len(server.workers("starting")) == 2
    assert server.out == []
    (server.directory / "go").touch()
    server.wait_serving()
    assert server.workers("spare")
