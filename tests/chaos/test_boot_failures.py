"""Workers that fail to start: they are tried again with pauses, and the others live."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.pool import MakePool
from support.processes import children
from support.waiting import wait_until

TWO = (
    "start_servers=2, min_spare_servers=2, max_spare_servers=2, max_clients=8, "
    "fork_handlers={'PAGES': 'begin'}"
)
BEGIN = """
import os, signal, sys, asyncio

def begin():
    if os.path.exists("fail"):
        {failure}

pages._handlers["begin"] = begin
"""

FAILURES = {
    "an exception": ("raise ValueError('no database')", "exit status 3"),
    "an exit": ("sys.exit(9)", "exit status 9"),
    "a hard exit": ("os._exit(8)", "exit status 8"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_in_a_fork_handler_replaces_that_worker_with_pauses_and_the_others_live(
    pool: MakePool, failure: str
) -> None:
    code, ending = FAILURES[failure]
    server = pool(TWO, more=BEGIN.format(failure=code))
    first, second = server.wait_workers(2)
    (server.directory / "fail").touch()
    server.hold(1, "/ahold")
    assert ending in server.wait_log("ended before it was ready")
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
    more = "async def begin():\n    raise ValueError('no database')\npages._handlers['begin'] = begin\n"
    server = pool(TWO, more=more)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    assert "ValueError: no database" in server.log
    assert 'app.py", line ' in server.log


def test_when_every_worker_fails_the_server_goes_on_trying_and_recovers(pool: MakePool) -> None:
    more = BEGIN.format(failure="raise ValueError('no database')")
    server = pool(TWO, more="open('fail', 'w').close()\n" + more)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    with server.connect() as waiting:
        waiting.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (server.directory / "fail").unlink()
        assert waiting.recv(100).startswith(b"HTTP/1.1 200"), "it waited for the first worker"
    server.wait_spares(2)


def test_when_only_some_fail_the_others_are_kept_and_the_pool_is_filled(pool: MakePool) -> None:
    more = BEGIN.replace('os.path.exists("fail")', "is_one_of_the_first()").format(
        failure="raise ValueError('too early')"
    )
    more += """
def is_one_of_the_first():
    for number in range(3):
        try:
            os.mkdir(f"try-{number}")
            return True
        except FileExistsError:
            pass
    return False
"""
    server = pool(TWO, more=more)
    server.wait_spares(2)
    assert server.status()["manager"]["boot_failed"] == 3


def test_term_ends_a_pool_whose_workers_cannot_begin(pool: MakePool) -> None:
    more = BEGIN.format(failure="raise ValueError('no database')")
    server = pool(TWO, more="open('fail', 'w').close()\n" + more)
    wait_until(lambda: server.status()["manager"]["boot_failed"] >= 2, "two tries")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - began < 3


def test_workers_that_die_as_soon_as_they_are_spare_do_not_make_a_storm(pool: MakePool) -> None:
    # Its fork handlers were fine; what they left behind ends it a moment later.
    more = (
        "import os\n"
        "def begin():\n    kernel.loop.call_later(0.01, os._exit, 4)\n"
        "pages._handlers['begin'] = begin\n"
    )
    server = pool(TWO, more=more)
    before, began = server.status()["manager"]["forked"], time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1, "a second")
    forked = server.status()["manager"]["forked"] - before
    print(f"{forked} forks in a second")
    assert forked < 60, "as fast as they can would be many hundreds"


def test_a_child_that_cannot_make_its_loop_does_not_go_on_as_a_second_manager(pool: MakePool) -> None:
    more = """
import os
open_ = kernel._open
def fail():
    if kernel._is_child and os.path.exists("fail"):
        raise OSError(24, "Too many open files")
    open_()
kernel._open = fail
"""
    server = pool(TWO.replace("'begin'", "'forked'"), more=more)
    server.wait_workers(2)
    (server.directory / "fail").touch()
    server.hold(1)
    assert "exit status 1" in server.wait_log("ended before it was ready")
    (server.directory / "fail").unlink()
    server.wait_spares(2)
    assert sorted(children(server.pid)) == sorted(server.workers())


def test_a_fork_handler_that_never_ends_is_given_up(pool: MakePool) -> None:
    hangs = BEGIN.format(failure="import time; time.sleep(600)")
    server = pool(TWO + ", boot_timeout=0.2, check_spares_interval=0.05", more=hangs)
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
    more = BEGIN.format(failure="os._exit(8)")
    more += "open('fail', 'w').close()\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    # Some may be so slow that they find nothing to fail of any more: those are soon retired.
    spares = "start_servers=60, min_spare_servers=2, max_spare_servers=2, check_spares_interval=0.02"
    server = pool(f"{spares}, fork_handlers={{'PAGES': 'begin'}}", more=more)
    (server.directory / "fail").unlink()
    server.wait_spares(2)
    assert "Traceback" not in server.log
