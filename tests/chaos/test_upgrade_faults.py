"""Upgrades in trouble: the former manager serves on, one line says why, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cgroups import make_cgroup
from support.molds import HOOK, descendants, errors, limited, open_files_at_rest, watches_its_children
from support.processes import alive, children, state, wait_ended
from support.server import Server, write_app
from support.upgrades import APP, kill_all, manager, new_process, serving
from support.waiting import wait_until

WORKERS = 2
ENDS = ("this manager serves on", "has taken over")


@contextlib.contextmanager
def leaving_nothing(server: Server) -> Iterator[None]:
    """Checks that the former manager has the processes and descriptors that it had."""
    wait_until(lambda: len(children(server.pid)) == WORKERS + 1 and not server.status()["totals"]["starting"])
    wait_until(lambda: watches_its_children(server.pid), "a descriptor for each child")
    processes, before = set(children(server.pid)), open_files_at_rest(server.pid)
    yield
    wait_until(lambda: set(children(server.pid)) == processes, "its processes alone")
    wait_until(lambda: open_files_at_rest(server.pid) == before, "its descriptors alone")
    assert server.get() == b"first %d" % server.pid
    assert "Traceback" not in server.log


def begin(server: Server) -> None:
    server.signal(signal.SIGUSR2)


def has_taken_over(server: Server) -> bool:
    """Waits for the end of the upgrade."""
    wait_until(lambda: any(end in server.log for end in ENDS), "an end of the upgrade", 30)
    return "has taken over" in server.log


def let_go(server: Server) -> None:
    """The new manager serves alone: it is the one to end."""
    assert server.process.wait(10) == 0
    assert server.get() == b"first %d" % manager(server)
    kill_all(server)


# --- what the system refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize("room", range(7))
def test_without_descriptors_it_is_given_up_or_done(tmp_path: Path, room: int) -> None:
    """With room for so many more descriptors in the former manager, and as many in all in the new one."""
    with serving(tmp_path, "--boot-timeout", "2") as server:
        highest = max(int(name) for name in os.listdir(f"/proc/{server.pid}/fd"))
        with contextlib.ExitStack() as stack:
            stack.enter_context(leaving_nothing(server))
            with limited(server.pid, resource.RLIMIT_NOFILE, highest + 1 + room):
                begin(server)
                if has_taken_over(server):
                    stack.pop_all()
                    let_go(server)
                    return
                assert server.get() == b"first %d" % server.pid
            assert len([line for line in errors(server) if "this manager serves on" in line]) == 1
        begin(server)
        wait_until(lambda: "has taken over" in server.log, "the next upgrade")
        let_go(server)


@pytest.mark.parametrize("room", [5, 6])
def test_without_descriptors_in_the_new_process_it_is_given_up(tmp_path: Path, room: int) -> None:
    """It may have no more, for its own and for what it is sent, than the former manager."""
    with serving(tmp_path, "--boot-timeout", "1") as server, leaving_nothing(server):
        highest = max(int(name) for name in os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (highest + room, highest + room))
        begin(server)
        assert not has_taken_over(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a control group")
@pytest.mark.parametrize("room", range(6))
def test_without_processes_it_is_given_up_or_done(tmp_path: Path, room: int) -> None:
    """With room for so many threads: of the new process, its mold, the one between two forks, a worker."""
    with (
        make_cgroup("pids") as group,
        serving(tmp_path, "--boot-timeout", "1", preexec_fn=group.enter) as server,
    ):
        with contextlib.ExitStack() as stack:
            stack.enter_context(leaving_nothing(server))
            with group.limited(group.current + room):
                begin(server)
                if has_taken_over(server):
                    stack.pop_all()
                    let_go(server)
                    return
        assert len([line for line in errors(server) if "this manager serves on" in line]) == 1


def test_without_room_for_the_pid_file_it_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with serving(tmp_path, "--pid-file", str(file)) as server, leaving_nothing(server):
        limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            begin(server)
            assert not has_taken_over(server)
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)
        assert f"pid file {file} cannot be written: File too large" in errors(server)[-1]
        assert file.read_text() == f"{server.pid}\n"
        assert os.listdir(tmp_path).count("pid") == 1
        assert not list(tmp_path.glob("pid.*"))


def test_a_pid_file_that_cannot_be_at_the_end_costs_no_service(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "pid"
    source = APP + "while os.path.exists('wait'): time.sleep(0.01)\n"
    with serving(tmp_path, "--pid-file", str(file), source=source) as server:
        (tmp_path / "wait").touch()
        begin(server)
        new = new_process(server)
        wait_until(lambda: children(new), "its mold")
        (tmp_path / "run").rename(tmp_path / "away")
        (tmp_path / "wait").unlink()
        server.wait_log("cannot be written: No such file or directory; it names the former process")
        let_go(server)


# --- processes that end at a step --------------------------------------------------------------------------

STEPS = {
    "it loads": "time.sleep(99)",
    "it forks": HOOK.format(when="before", what="(open('forks', 'w'), time.sleep(99))"),
    "its worker begins": HOOK.format(when="after_in_child", what="time.sleep(99)"),
}
steps = pytest.mark.parametrize("step", STEPS)


def reach(server: Server, directory: Path, step: str) -> int:
    """Begins an upgrade, and waits until it hangs at a step. Returns the new process."""
    write_app(directory, APP + STEPS[step] + "\n")
    begin(server)
    new = new_process(server)
    expected = {"it loads": 1, "it forks": 1, "its worker begins": 1 + WORKERS}[step]

    def hangs() -> bool:
        found = descendants(new)
        has_come = step != "it forks" or (directory / "forks").exists()
        return has_come and len(found) == expected and all(state(pid) in "SD" for pid in found)

    wait_until(hangs, f"an upgrade at the step: {step}")
    return new


@steps
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_at_a_step_leaves_nothing(tmp_path: Path, step: str, signum: int) -> None:
    with serving(tmp_path) as server:
        reach(server, tmp_path, step)
        processes = descendants(server.pid)
        server.signal(signum)
        assert server.wait() == 0
        wait_ended(processes)
        assert "given up, because the server is stopping" in server.log
        assert "Traceback" not in server.log


@steps
def test_a_new_manager_that_is_killed_at_a_step_leaves_nothing(tmp_path: Path, step: str) -> None:
    with serving(tmp_path) as server, leaving_nothing(server):
        new = reach(server, tmp_path, step)
        processes = descendants(new)
        os.kill(new, signal.SIGKILL)
        server.wait_log("this manager serves on")
        wait_ended(processes)
        assert "killed by SIGKILL" in errors(server)[-1]


@steps
def test_a_mold_of_the_new_manager_that_is_killed_at_a_step_is_one_failure(tmp_path: Path, step: str) -> None:
    """While it loads that ends the upgrade. Later another one is made, which hangs as well here."""
    with serving(tmp_path, "--boot-timeout", "1", "--boot-failures", "1") as server, leaving_nothing(server):
        new = reach(server, tmp_path, step)
        (mold, *_) = sorted(children(new))
        os.kill(mold, signal.SIGKILL)
        assert not has_taken_over(server)
        wait_until(lambda: not alive(new), "the end of the new manager")
        assert "killed by SIGKILL" in server.log


@steps
def test_a_manager_that_is_killed_at_a_step_leaves_the_new_one_to_go_on_or_end(
    tmp_path: Path, step: str
) -> None:
    """Here it hangs at that step, so it ends."""
    with serving(tmp_path, "--boot-timeout", "1", "--boot-failures", "1") as server:
        workers = server.workers()
        new = reach(server, tmp_path, step)
        processes = descendants(new)
        server.process.kill()
        wait_ended([*workers])
        wait_ended([new, *processes])


def test_a_manager_that_is_stopped_amid_an_upgrade_lets_go_when_it_goes_on(tmp_path: Path) -> None:
    source = APP + "while os.path.exists('wait'): time.sleep(0.01)\n"
    with serving(tmp_path, source=source) as server:
        (tmp_path / "wait").touch()
        begin(server)
        new = new_process(server)
        wait_until(lambda: children(new), "its mold")
        server.signal(signal.SIGSTOP)
        (tmp_path / "wait").unlink()
        wait_until(lambda: len(children(new)) == WORKERS + 1, "its workers")
        assert server.get().startswith(b"first")
        server.signal(signal.SIGCONT)
        assert has_taken_over(server)
        let_go(server)


def test_two_upgrades_at_once_are_one(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        begin(server)
        new_process(server)
        begin(server)
        server.wait_log("USR2 changes nothing: an upgrade is under way already")
        assert has_taken_over(server)
        let_go(server)
