"""Molds and reloads in trouble: the old pool serves on, one line says why, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.load import Load
from support.molds import (
    HOOK,
    LIBRARY,
    SLEEP,
    WORKERS,
    descendants,
    errors,
    hang_up,
    leaving_nothing,
    molds,
    serving,
    start,
    wait_full,
    write,
)
from support.processes import alive, children, state, wait_ended
from support.server import Server
from support.waiting import wait_until

# --- new code that disturbs the forks of its mold --------------------------------------------------------

BOOT_S = 2
"""The time that a start may take. A busy machine needs more than a second for one that works."""

AT_FORK = {
    "the process between kills the mold": (
        LIBRARY.format(what=f"in_between() and (os.kill(MOLD, 9), {SLEEP})"),
        "the process that forks its workers has ended: killed by SIGKILL",
    ),
    "the process between hangs": (
        LIBRARY.format(what=f"in_between() and {SLEEP}"),
        f"did not fork a worker within {BOOT_S} s",
    ),
    "the process between ends": (
        LIBRARY.format(what="in_between() and os._exit(4)"),
        "the process between two forks has ended before it forked",
    ),
    "the mold hangs before": (
        HOOK.format(when="before", what=SLEEP),
        f"did not fork a worker within {BOOT_S} s",
    ),
    "the worker hangs": (
        HOOK.format(when="after_in_child", what=SLEEP),
        "a worker has ended before it began: killed by SIGKILL",
    ),
    "the worker ends": (
        HOOK.format(when="after_in_child", what="os._exit(4)"),
        "before it began",
    ),
    "the mold hangs after": (
        HOOK.format(when="after_in_parent", what=f"os.getpid() == MOLD and {SLEEP}"),
        f"did not go on, after it had forked a worker, within {BOOT_S} s",
    ),
    "the mold ends after": (
        HOOK.format(when="after_in_parent", what="os.getpid() == MOLD and os._exit(4)"),
        "the process that forks its workers has ended: exit status 4",
    ),
    "the worker kills the mold": (
        HOOK.format(when="after_in_child", what="os.kill(MOLD, 9)"),
        "the process that forks its workers has ended: killed by SIGKILL",
    ),
}


@pytest.mark.parametrize("case", AT_FORK)
def test_new_code_that_disturbs_forks_leaves_the_old_one_serving(tmp_path: Path, case: str) -> None:
    more, told = AT_FORK[case]
    with serving(tmp_path, "--boot-timeout", f"{BOOT_S}") as server:
        old = server.workers()
        with leaving_nothing(server):
            write(tmp_path, more)
            hang_up(server)
            server.wait_log("generation 1 serves on")
            assert told in errors(server)[-1]
            wait_until(lambda: server.workers() == old, "the end of the worker that was tried")
            assert len(errors(server)) == 1
        assert server.get().startswith(b"first")
        assert server.stop() == 0


@pytest.mark.parametrize("seconds", [0.05, 99])
@pytest.mark.parametrize("daemon", [True, False])
def test_new_code_that_forks_and_leaves_threads_is_served(
    tmp_path: Path, daemon: bool, seconds: float
) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        write(
            tmp_path,
            "import threading, time\n"
            "os.fork()\n"
            f"threading.Thread(target=time.sleep, args=({seconds},), daemon={daemon}).start()\n",
        )
        hang_up(server)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"first")
        assert not errors(server)


# --- molds that cannot fork, from the start --------------------------------------------------------------

NEVER = {
    **{
        case: AT_FORK[case]
        for case in (
            "the process between hangs",
            "the process between ends",
            "the mold hangs before",
            "the worker ends",
        )
    },
    "the mold ends before": (
        HOOK.format(when="before", what="os._exit(4)"),
        "the process that forks workers has ended: exit status 4",
    ),
    "the mold crashes before": (
        HOOK.format(when="before", what="ctypes.string_at(0)"),
        "the process that forks workers has ended: killed by SIGSEGV",
    ),
}


@pytest.mark.parametrize("case", NEVER)
def test_a_server_whose_molds_never_fork_a_worker_that_begins_ends_with_the_first_error(
    tmp_path: Path, case: str
) -> None:
    more, told = NEVER[case]
    write(tmp_path, more)
    with start(tmp_path, "--boot-timeout", f"{BOOT_S}") as server:
        assert server.wait(30) == 3
        last = server.err[-1]
        assert last.startswith(
            "prefork: no worker was ever ready, in 3 attempts (--boot-failures); the first"
        )
        assert told.replace("its workers", "workers") in last
        assert server.out == [], "it has never been serving"
        assert "making another" not in server.err[-2], "it is known that there is no other"


def test_without_a_limit_of_attempts_molds_are_made_again_until_one_forks(tmp_path: Path) -> None:
    write(tmp_path, HOOK.format(when="before", what="os.path.exists('mend') or os._exit(4)"))
    with start(tmp_path, "--boot-failures", "0") as server:
        server.wait_log("making another in 0.4 s")
        (tmp_path / "mend").touch()
        server.wait_serving()
        wait_full(server)
        assert server.get().startswith(b"first")
        assert server.stop() == 0


def test_a_mold_that_ends_as_its_last_worker_is_forked_leaves_a_server_that_serves(tmp_path: Path) -> None:
    """The workers that it has forked before live on, and the pool is filled by another mold."""
    third = "os.path.exists('go') or (os.path.exists('one') and os._exit(4)) or open('one', 'w').close()"
    write(tmp_path, HOOK.format(when="after_in_parent", what=f"os.getpid() == MOLD and ({third})"))
    with start(tmp_path, "--boot-failures", "1") as server:
        server.wait_log("the process that forks workers has ended: exit status 4")
        (tmp_path / "go").touch()
        server.wait_serving()
        wait_full(server)
        assert server.stop() == 0


# --- a mold that is stopped or killed --------------------------------------------------------------------


def test_a_mold_that_is_stopped_is_made_again_when_a_worker_is_wanted(tmp_path: Path) -> None:
    with serving(tmp_path, "--boot-timeout", "1") as server, leaving_nothing(server):
        (mold,) = molds(server)
        os.kill(mold, signal.SIGSTOP)
        wait_until(lambda: state(mold) == "T", "it stands still")
        os.kill(server.workers()[0], signal.SIGKILL)
        assert server.get().startswith(b"first")
        server.wait_log("did not fork a worker within 1 s: it was stopped, or hung; making another in 0.1 s")
        server.wait_log("the application is loaded again")
        wait_full(server)
        assert not alive(mold)


def test_a_stopped_mold_keeps_no_reload_from_its_end(tmp_path: Path) -> None:
    with serving(tmp_path, "--boot-timeout", "2") as server, leaving_nothing(server):
        (mold,) = molds(server)
        os.kill(mold, signal.SIGSTOP)
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        server.wait_without([victim])
        write(tmp_path)
        hang_up(server)
        server.wait_log("every worker is of generation 2")
        wait_ended([mold])


def test_a_mold_that_is_stopped_while_it_loads_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, "--boot-timeout", "1") as server, leaving_nothing(server):
        old = molds(server)
        write(tmp_path, "import signal; os.kill(os.getpid(), signal.SIGSTOP)")
        hang_up(server)
        server.wait_log("was not loaded within boot_timeout (1 s); generation 1 serves on")
        assert molds(server) == old


def test_a_mold_that_is_killed_amid_forks_loses_no_worker_and_no_slot(tmp_path: Path) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        for delay_s in (0.0, 0.001, 0.002, 0.004, 0.008):
            (mold,) = molds(server)
            for victim in server.workers():
                os.kill(victim, signal.SIGKILL)
            time.sleep(delay_s)  # a moment amid the forks, any will do
            os.kill(mold, signal.SIGKILL)
            wait_ended([mold])
            wait_full(server)
        assert server.get().startswith(b"first")


def test_a_mold_whose_forks_kill_it_is_made_again_with_pauses(tmp_path: Path) -> None:
    """Each is loaded, and dies of the first worker that it is asked for."""
    with serving(tmp_path) as server:
        write(tmp_path, HOOK.format(when="before", what="os.kill(os.getpid(), 9)"))
        (mold,) = molds(server)
        os.kill(mold, signal.SIGKILL)
        server.wait_log("loaded again")
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_log("making another in 0.4 s")
        assert server.get().startswith(b"first")
        assert len(server.workers()) >= WORKERS - 1
        write(tmp_path)
        wait_full(server)
        assert server.stop() == 0


# --- a reload at its steps -------------------------------------------------------------------------------

LOADING = "import time; time.sleep(99)"
FORKING = LIBRARY.format(what=f"in_between() and {SLEEP}")
BEGINNING = HOOK.format(when="after_in_child", what=SLEEP)
STEPS = {"it loads": LOADING, "it forks": FORKING, "its worker begins": BEGINNING}
steps = pytest.mark.parametrize("step", STEPS)


def reach(server: Server, directory: Path, step: str) -> None:
    """Begins a reload, and waits until it hangs at a step."""
    before = descendants(server.pid)
    write(directory, STEPS[step])
    hang_up(server)
    expected = {"it loads": 1, "it forks": 2, "its worker begins": 2}[step]

    def hangs() -> bool:
        new = descendants(server.pid) - before
        return len(new) == expected and all(state(pid) in "SD" for pid in new)

    wait_until(hangs, f"a reload at the step: {step}")


@steps
def test_term_at_a_step_of_a_reload_leaves_nothing(tmp_path: Path, step: str) -> None:
    with serving(tmp_path) as server:
        reach(server, tmp_path, step)
        processes = descendants(server.pid)
        assert server.stop() == 0
        wait_ended(processes)
        assert not errors(server)


@contextlib.contextmanager
def starting(directory: Path, step: str) -> Iterator[Server]:
    """A server whose first mold hangs at a step."""
    write(directory, STEPS[step])
    with start(directory) as server:
        expected = {"it loads": 1, "it forks": 2, "its worker begins": 1 + WORKERS}[step]

        def hangs() -> bool:
            found = descendants(server.pid)
            return len(found) == expected and all(state(pid) in "SD" for pid in found)

        wait_until(hangs, f"a start at the step: {step}")
        yield server


@steps
def test_a_manager_that_is_killed_at_a_step_of_its_start_leaves_nothing(tmp_path: Path, step: str) -> None:
    with starting(tmp_path, step) as server:
        processes = descendants(server.pid)
        server.process.kill()
        wait_ended(processes)


@steps
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_does_not_wait_for_a_worker_that_is_being_made(tmp_path: Path, step: str, signum: int) -> None:
    with starting(tmp_path, step) as server:
        processes, began = descendants(server.pid), time.monotonic()
        server.signal(signum)
        assert server.wait() == 0
        assert time.monotonic() - began < 10, "the limits of a start are longer"
        wait_ended(processes)
        assert not errors(server)


@steps
def test_a_manager_that_is_killed_at_a_step_of_a_reload_leaves_nothing(tmp_path: Path, step: str) -> None:
    with serving(tmp_path) as server:
        reach(server, tmp_path, step)
        processes = descendants(server.pid)
        server.process.kill()
        wait_ended(processes)


@steps
def test_another_reload_takes_the_place_of_one_at_each_step(tmp_path: Path, step: str) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        reach(server, tmp_path, step)
        write(tmp_path)
        hang_up(server)
        server.wait_log("every worker is of generation 2")
        assert "another reload takes its place" in server.log
        assert server.get().startswith(b"first")


@steps
def test_a_mold_that_is_killed_at_a_step_of_a_reload_ends_that(tmp_path: Path, step: str) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        old, workers = molds(server), server.workers()
        reach(server, tmp_path, step)
        new = min(set(children(server.pid)) - {*old, *workers})  # a worker of it has a higher pid
        os.kill(new, signal.SIGKILL)
        server.wait_log("generation 1 serves on")
        assert server.workers() == workers


def test_many_reloads_at_once_end_with_one_generation(tmp_path: Path) -> None:
    with serving(tmp_path) as server, leaving_nothing(server), Load(server, 8, "/") as load:
        for _ in range(20):
            write(tmp_path)
            hang_up(server)
            load.more(5)
        write(tmp_path)
        hang_up(server)
        wait_until(
            lambda: server.err and "every worker is of generation" in server.err[-1], "the last reload"
        )
        wait_full(server)
        assert load.lost == []
        assert load.opened == 8


def test_a_manager_that_is_stopped_amid_a_reload_goes_on_with_it(tmp_path: Path) -> None:
    with serving(tmp_path, "--boot-timeout", "1") as server, leaving_nothing(server):
        write(tmp_path, "import time; time.sleep(0.3)")
        hang_up(server)
        wait_until(lambda: len(molds(server)) == 2, "the next mold")
        server.signal(signal.SIGSTOP)
        time.sleep(1.2)  # longer than boot_timeout: the mold was in time
        assert server.get().startswith(b"first")
        server.signal(signal.SIGCONT)
        server.wait_log("every worker is of generation 2")
        assert not errors(server)


# --- a pid that is used again ----------------------------------------------------------------------------

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@pytest.mark.skipif(os.geteuid() != 0 or not LAST_PID.exists(), reason="only root can choose the next pid")
def test_a_worker_that_has_the_pid_of_a_former_one_is_another(tmp_path: Path) -> None:
    """Another process of the machine may take it first: it is tried again then."""
    with serving(tmp_path) as server, leaving_nothing(server):
        (mold,) = molds(server)
        for _ in range(20):
            victim, *others = server.workers()
            os.kill(mold, signal.SIGSTOP)
            wait_until(lambda: state(mold) == "T", "it stands still")
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: state(victim) == "X", "it to be reaped")  # noqa: B023
            LAST_PID.write_text(f"{victim - 2}")  # the process between two forks has the next one
            os.kill(mold, signal.SIGCONT)
            wait_full(server)
            assert set(others) <= set(server.workers())
            if victim in server.workers():
                break
        else:
            pytest.skip("this machine makes too many processes")
        assert set(descendants(server.pid)) == {mold, *server.workers()}
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: state(victim) == "X", "it to be reaped")
        wait_full(server)
        assert len(errors(server)) >= 2, "each end is told"
