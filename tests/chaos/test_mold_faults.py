"""Molds and reloads in trouble: the old pool serves on, one line says why, and nothing is left behind."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.load import Load
from support.processes import alive, children, state, wait_ended
from support.server import Server, running, write_app
from support.waiting import wait_until

APP = """
import ctypes, os
MOLD = os.getpid()
of_libraries = []
def at_fork_of_library(function):
    of_libraries.append(ctypes.CFUNCTYPE(None)(function))
    ctypes.CDLL(None)["__register_atfork"](of_libraries[-1], None, None, None)
def in_between():
    return os.getpid() != MOLD
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"first %d" % os.getpid()]
"""
WORKERS = 3

sizes = itertools.count(1)


@contextlib.contextmanager
def serving(directory: Path, *flags: str) -> Iterator[Server]:
    write(directory)
    place = ("--bind", "127.0.0.1:0", "--workers", f"{WORKERS}")
    with running("app.py", *place, *flags, cwd=directory) as server:
        wait_full(server)
        yield server


def write(directory: Path, more: str = "") -> None:
    """The application, with more at its end. Its size is another one each time, or the interpreter would take
    a change within a second for none.
    """
    write_app(directory, f"{APP}{more}\n{'#' * next(sizes)}\n")


def molds(server: Server) -> list[int]:
    workers = server.workers()
    return [pid for pid in children(server.pid) if pid not in workers and alive(pid)]


def wait_full(server: Server) -> None:
    """A whole pool, which is at rest: each child is a worker or the mold."""

    def is_full() -> bool:
        return (
            len(server.workers("spare", "active")) == WORKERS
            and len(server.workers()) == WORKERS
            and len(children(server.pid)) == WORKERS + 1
            and len(molds(server)) == 1
        )

    wait_until(is_full, f"{WORKERS} workers and a mold")


def open_files(pid: int) -> Counter[str]:
    """What a process has open beside its standard streams and copies of them, by kind."""
    entries = Path(f"/proc/{pid}/fd")
    standard = {str((entries / name).readlink()) for name in "012"}
    found: Counter[str] = Counter()
    for entry in entries.iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            found[target.partition("[")[0]] += target not in standard
    return found


@contextlib.contextmanager
def leaving_nothing(server: Server) -> Iterator[None]:
    """Checks that in the end the processes, and what each has open, are as many as before."""

    def held() -> list[Counter[str]]:
        (mold,) = molds(server)
        return [open_files(server.pid), open_files(mold), open_files(min(server.workers()))]

    server.wait_idle()
    before = held()
    yield
    wait_full(server)
    server.wait_idle()
    after = before

    def is_as_before() -> bool:
        nonlocal after
        after = held()
        return after == before

    with contextlib.suppress(AssertionError):
        wait_until(is_as_before)
    assert after == before


def hang_up(server: Server) -> None:
    server.signal(signal.SIGHUP)


def errors(server: Server) -> list[str]:
    return [line for line in server.err if " ERROR " in line]


# --- new code that disturbs the forks of its mold --------------------------------------------------------

HOOK = "os.register_at_fork({when}=lambda: {what})"
LIBRARY = "at_fork_of_library(lambda: {what})"
"""As libraries in C have functions called before a fork (pthread_atfork): in the process between."""
SLEEP = "__import__('time').sleep(99)"
AT_FORK = {
    "the process between kills the mold": (
        LIBRARY.format(what=f"in_between() and (os.kill(MOLD, 9), {SLEEP})"),
        "the process that forks its workers has ended: killed by SIGKILL",
    ),
    "the process between hangs": (
        LIBRARY.format(what=f"in_between() and {SLEEP}"),
        "did not fork a worker within 1 s",
    ),
    "the process between ends": (
        LIBRARY.format(what="in_between() and os._exit(4)"),
        "the process between two forks has ended before it forked",
    ),
    "the mold hangs before": (
        HOOK.format(when="before", what=SLEEP),
        "did not fork a worker within 1 s",
    ),
    "the worker hangs": (
        HOOK.format(when="after_in_child", what=SLEEP),
        "a worker has ended before it began: killed by SIGKILL",
    ),
    "the worker ends": (
        HOOK.format(when="after_in_child", what="os._exit(4)"),
        "before it began",
    ),
}


@pytest.mark.parametrize("case", AT_FORK)
def test_new_code_that_disturbs_forks_leaves_the_old_one_serving(tmp_path: Path, case: str) -> None:
    more, told = AT_FORK[case]
    with serving(tmp_path, "--boot-timeout", "1") as server:
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


def test_new_code_that_forks_and_leaves_threads_is_served(tmp_path: Path) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        write(
            tmp_path,
            "import threading, time\n"
            "os.fork()\n"
            "threading.Thread(target=time.sleep, args=(0.05,), daemon=True).start()\n",
        )
        hang_up(server)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"first")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("os.write(os.open('/dev/full', os.O_WRONLY), b'x')", "No space left on device"),
        ("held = bytearray(1 << 40)", "MemoryError"),
        (
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); os.open('/', 0)",
            "Too many open",
        ),
    ],
    ids=["disk", "memory", "descriptors"],
)
def test_new_code_that_finds_no_resources_is_not_served(tmp_path: Path, more: str, told: str) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        old = server.workers()
        write(tmp_path, more)
        hang_up(server)
        server.wait_log("generation 1 serves on")
        assert told in errors(server)[-1]
        wait_until(lambda: server.workers() == old, "the end of the worker that was tried")


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


# --- limits ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(pid: int, what: int, most: int) -> Iterator[None]:
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, (soft, hard))


def of_manager(server: Server) -> int:
    return server.pid


def of_mold(server: Server) -> int:
    return molds(server)[0]


@pytest.mark.parametrize("whose", [of_manager, of_mold])
def test_without_descriptors_no_worker_is_spawned_until_there_are_some(
    tmp_path: Path, whose: Callable[[Server], int]
) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        victim, *others = server.workers()
        with limited(whose(server), resource.RLIMIT_NOFILE, 3):
            os.kill(victim, signal.SIGKILL)
            server.wait_log("cannot spawn a worker: Too many open files")
            assert server.get().startswith(b"first")
        server.wait_log("workers are spawned again")
        wait_full(server)
        assert set(others) < set(server.workers())
        assert server.log.count("cannot spawn") == 1


@pytest.mark.parametrize("room", range(6))
def test_a_reload_without_descriptors_is_given_up_or_done(tmp_path: Path, room: int) -> None:
    """With room for so many more descriptors in the manager."""
    with serving(tmp_path) as server, leaving_nothing(server):
        highest = max(int(name) for name in os.listdir(f"/proc/{server.pid}/fd"))
        write(tmp_path)
        with limited(server.pid, resource.RLIMIT_NOFILE, highest + 1 + room):
            hang_up(server)
            wait_until(
                lambda: "generation 1 serves on" in server.log or "is of generation 2" in server.log, "an end"
            )
            assert server.get().startswith(b"first")
        assert "Traceback" not in server.log


def test_a_reload_without_memory_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        old = server.workers()
        write(tmp_path, "held = bytearray(1 << 28)")
        used = int(Path(f"/proc/{server.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        with limited(server.pid, resource.RLIMIT_AS, used + (1 << 27)):
            hang_up(server)
            server.wait_log("generation 1 serves on")
        assert "MemoryError" in errors(server)[-1]
        wait_until(lambda: server.workers() == old, "the end of the worker that was tried")
        write(tmp_path)
        hang_up(server)
        server.wait_log("every worker is of generation 2")


def test_a_log_on_a_full_disk_keeps_no_reload_from_its_end(tmp_path: Path) -> None:
    write(tmp_path)
    flags = ("app.py", "--bind", "127.0.0.1:0", "--workers", f"{WORKERS}")
    with open("/dev/full", "w") as full, running(*flags, cwd=tmp_path, stderr=full) as server:
        wait_full(server)
        with leaving_nothing(server):
            hang_up(server)
            wait_until(
                lambda: {worker["generation"] for worker in server.status()["workers"]} == {2},
                "the next generation",
            )
        assert server.stop() == 0


# --- a reload at its steps -------------------------------------------------------------------------------

LOADING = "import time; time.sleep(99)"
FORKING = LIBRARY.format(what=f"in_between() and {SLEEP}")
BEGINNING = HOOK.format(when="after_in_child", what=SLEEP)
STEPS = {"it loads": LOADING, "it forks": FORKING, "its worker begins": BEGINNING}
steps = pytest.mark.parametrize("step", STEPS)


def descendants(pid: int) -> set[int]:
    found = set(children(pid))
    return found.union(*map(descendants, found))


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


@pytest.mark.parametrize("step", ["it loads", "it forks"])
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
