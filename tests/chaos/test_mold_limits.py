"""What the system refuses a manager or its mold: descriptors, processes, memory, room on a disk.

The old pool serves on, one line says why, it recovers, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cgroups import Cgroup, make_cgroup
from support.control import ask, control_path
from support.load import Load
from support.molds import (
    WORKERS,
    errors,
    hang_up,
    leaving_nothing,
    limited,
    molds,
    of_manager,
    of_mold,
    serving,
    start,
    wait_full,
    write,
)
from support.processes import alive
from support.server import Server, running
from support.waiting import wait_until

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")


def failures(server: Server) -> int:
    """How many attempts to spawn a worker have failed in a row."""
    count: int = ask(control_path(server), "explain")["result"]["failures"]
    return count


# --- descriptors and memory of one process ---------------------------------------------------------------


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


# --- processes -------------------------------------------------------------------------------------------


@pytest.fixture
def processes() -> Iterator[Cgroup]:
    with make_cgroup("pids") as group:
        yield group


@only_root
@pytest.mark.parametrize("room", range(4))
def test_without_processes_a_mold_forks_when_there_are_some_again(
    tmp_path: Path, processes: Cgroup, room: int
) -> None:
    """With room for none, for the process between two forks, for a worker, for its guard."""
    guarded = ("--request-timeout", "60")
    with serving(tmp_path, *guarded, preexec_fn=processes.enter) as server, leaving_nothing(server):
        (mold,) = molds(server)
        victim, *others = server.workers()
        with processes.limited(1):
            os.kill(victim, signal.SIGKILL)
            server.wait_log("cannot spawn a worker: Resource temporarily unavailable")
            with processes.limited(processes.current + room):
                before = failures(server)
                wait_until(lambda: failures(server) > before or len(server.workers()) == WORKERS, "a try")
                assert server.get().startswith(b"first")
            assert set(others) <= set(server.workers())
        wait_full(server)
        assert server.log.count("cannot spawn a worker") == 1
        assert "Traceback" not in server.log
        assert alive(mold)


@only_root
@pytest.mark.parametrize("room", range(6))
def test_a_reload_without_processes_is_given_up_or_done(tmp_path: Path, processes: Cgroup, room: int) -> None:
    with serving(tmp_path, preexec_fn=processes.enter) as server, leaving_nothing(server):
        write(tmp_path)
        with processes.limited(processes.current + room):
            hang_up(server)
            wait_until(lambda: "generation 1 serves on" in server.log or "is of generation 2" in server.log)
            assert server.get().startswith(b"first")
        assert "Traceback" not in server.log
        assert len(errors(server)) <= 2  # a worker that fails tells so itself
        hang_up(server)
        wait_until(lambda: "every worker is of generation" in server.err[-1], "another reload")


@only_root
def test_a_mold_that_cannot_be_made_again_for_lack_of_processes_comes_later(
    tmp_path: Path, processes: Cgroup
) -> None:
    with serving(tmp_path, preexec_fn=processes.enter) as server, leaving_nothing(server):
        (mold,) = molds(server)
        with processes.limited(0):
            os.kill(mold, signal.SIGKILL)
            server.wait_log("cannot fork: Resource temporarily unavailable; making another in 0.2 s")
            os.kill(server.workers()[0], signal.SIGKILL)
            server.wait_log("cannot spawn a worker")
            assert server.get().startswith(b"first")
        server.wait_log("the application is loaded again")


# --- the memory of all processes together ----------------------------------------------------------------

EATS = """
import time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/eat":
        eaten = []
        while True:
            eaten.append(b"x" * (1 << 20))
    return [b"first %d" % os.getpid()]
"""
MIB = 1 << 20


@pytest.fixture
def memory() -> Iterator[Cgroup]:
    with make_cgroup("memory") as group:
        yield group


@only_root
def test_a_worker_that_eats_all_memory_is_killed_and_replaced_at_once(tmp_path: Path, memory: Cgroup) -> None:
    """The system kills the process that has the most. That is no fault of the others: nothing is braked."""
    write(tmp_path, EATS)
    with start(tmp_path, preexec_fn=memory.enter) as server:
        server.wait_serving()
        wait_full(server)
        with leaving_nothing(server), memory.limited(memory.current + 100 * MIB):
            for number in range(1, 7):
                with pytest.raises(http.client.RemoteDisconnected):
                    server.get("/eat")
                wait_until(lambda: server.log.count("killed by SIGKILL") == number, "its end")  # noqa: B023
                wait_full(server)
                assert server.get().startswith(b"first")
        assert len(errors(server)) == 6
        assert server.stop() == 0


@only_root
def test_a_mold_that_finds_no_memory_for_new_code_is_given_up(tmp_path: Path, memory: Cgroup) -> None:
    with serving(tmp_path, preexec_fn=memory.enter) as server, leaving_nothing(server):
        old = server.workers()
        write(tmp_path, "held = b'x' * (200 << 20)")
        with memory.limited(memory.current + 100 * MIB):
            hang_up(server)
            server.wait_log("killed by SIGKILL; generation 1 serves on")
            assert server.get().startswith(b"first")
        assert len(errors(server)) == 1
        assert server.workers() == old


@pytest.mark.parametrize("room", [0, 1 << 16, 1 << 20, 8 << 20])
def test_workers_that_find_no_memory_come_when_there_is_some(tmp_path: Path, room: int) -> None:
    """With so many bytes more than the mold has."""
    with serving(tmp_path) as server, leaving_nothing(server):
        (mold,) = molds(server)
        victim, *others = server.workers()
        used = int(Path(f"/proc/{mold}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        with limited(mold, resource.RLIMIT_AS, used + room):
            os.kill(victim, signal.SIGKILL)
            server.wait_without([victim])
            wait_until(
                lambda: len(server.workers()) == WORKERS or failures(server) or not alive(mold), "a try"
            )
            assert {int(server.get().split()[1]) for _ in range(9)} <= set(server.workers())
        wait_full(server)
        assert set(others) <= set(server.workers())
        assert server.log.count("cannot spawn a worker") <= 1


# --- a disk ----------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own without room for a byte or a file."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k,nr_inodes=8,mode=755", "tmpfs", str(path)]
    if subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("this machine mounts no file system")
    (path / "log").touch()
    (path / "pid").write_text("")
    with (path / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    with contextlib.suppress(OSError):
        for number in range(8):
            (path / str(number)).touch()
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--pid-file", "disk/pid"), "disk/pid cannot be written: No space left on device"),
        (("--pid-file", "disk/another"), "cannot be written: No space left on device"),
        (("--control-socket", "disk/control"), "No space left on device"),
        (("--bind", "unix:disk/socket"), "No space left on device"),
    ],
)
def test_a_server_that_has_no_room_for_its_files_is_one_line(
    tmp_path: Path, full_disk: Path, flags: tuple[str, ...], told: str
) -> None:
    write(tmp_path)
    before = sorted(path.name for path in full_disk.iterdir())
    with start(tmp_path, *flags) as server:
        assert server.wait(30) == 2
        assert told in server.err[-1]
        assert len(server.err) == 1, server.log
        assert server.out == []
    assert sorted(path.name for path in full_disk.iterdir()) == before


def test_a_server_without_room_for_its_control_socket_serves_without(
    tmp_path: Path, full_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user has not named one. Other directories come first, so this is what is said of them all."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(full_disk))
    with serving(tmp_path) as server:
        assert not control_path(server).startswith(str(full_disk))
        assert server.get().startswith(b"first")
        assert server.stop() == 0


@pytest.mark.parametrize("which", ["access log", "log"])
def test_a_log_without_room_keeps_no_request_and_no_reload(
    tmp_path: Path, full_disk: Path, which: str
) -> None:
    flags = ("--access-log", "disk/log") if which == "access log" else ()
    with contextlib.ExitStack() as stack:
        settings = {} if flags else {"stderr": stack.enter_context((full_disk / "log").open("a"))}
        server = stack.enter_context(serving(tmp_path, *flags, **settings))
        stack.enter_context(leaving_nothing(server, full_disk / "log"))
        with Load(server, 4, "/") as load:
            load.more(50)
            victim = server.workers()[0]
            os.kill(victim, signal.SIGKILL)
            server.wait_without([victim])
            hang_up(server)
            wait_until(
                lambda: {worker["generation"] for worker in server.status()["workers"]} == {2},
                "the next generation",
            )
            load.more(50)
        assert len(load.lost) <= 4, "what the one that was killed had"
    assert (full_disk / "log").stat().st_size == 0
