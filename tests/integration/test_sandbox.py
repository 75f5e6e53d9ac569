"""`--sandbox`: what a worker can no longer do, what it still can, and what is said where that is lacking."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork._engine import try_sandbox
from support.apps import APPS
from support.containers import LANDLOCK, SECCOMP, refusing
from support.server import Finished, Server, run_prefork, start_process, start_server
from support.waiting import wait_until

APP = f"{APPS / 'sandboxed.py'}:app"
PTRACE, IO_URING_SETUP = "101", "425"

whole = pytest.mark.skipif(
    bool(try_sandbox(write=[], append=[], connect=[])), reason="this kernel has not all of it"
)


class Sandboxed(Server):
    """A server whose `temporary` directory is one of the test: pytest's are in /tmp."""

    def act(self, action: str, argument: object = "") -> str:
        """Have a worker do it, and return what came of it."""
        return self.get(f"/{action}?{argument}").decode()


StartSandboxed = Callable[..., Sandboxed]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartSandboxed]:
    """`start(*flags)` serves `sandboxed.py` with two workers in a sandbox."""
    started: list[Sandboxed] = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def begin(*flags: str, sandbox: str = "required", target: str = APP, **settings: object) -> Sandboxed:
        given = (target, "--bind", "127.0.0.1:0", "--workers", "2", "--sandbox", sandbox, *flags)
        server = Sandboxed(start_process(*given, env={"TMPDIR": str(temporary)}, **settings))
        started.append(server)
        server.wait_serving()
        return server

    yield begin
    for server in started:
        server.kill()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@whole
def test_a_worker_changes_only_files_that_are_named_and_reads_all(
    start: StartSandboxed, tmp_path: Path
) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    for directory in (named, other):
        directory.mkdir()
        (directory / "file").write_text("as it was")
    server = start("--sandbox-write", str(named))
    for path in (named / "file", named / "new", tmp_path / "temporary" / "new", "/dev/null"):
        assert server.act("write", path) == "written"
    for path in (other / "file", other / "new", "/proc/self/oom_score_adj"):
        assert server.act("write", path) == "PermissionError"
    assert server.act("rename", f"{named / 'new'}:{named / 'newer'}") == "renamed"
    assert server.act("rename", f"{named / 'newer'}:{other / 'newer'}") == "PermissionError"
    assert server.act("read", other / "file") == "as it was"
    assert server.err == []


@whole
def test_a_worker_connects_only_to_ports_that_are_named(
    start: StartSandboxed, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    assert start().act("connect", port) == "PermissionError"
    assert start("--sandbox-connect", "1", "--sandbox-connect", str(port)).act("connect", port) == "connected"
    assert start("--sandbox-connect", "any").act("connect", port) == "connected"


@whole
def test_a_worker_reaches_no_other_process(start: StartSandboxed) -> None:
    server = start()
    workers = server.workers()
    assert server.act("signal", server.pid) == "PermissionError"
    said = {server.act("signal", pid) for pid in workers * 4}
    assert said <= {"PermissionError", "itself"}
    wait_until(lambda: "PermissionError" in {server.act("signal", pid) for pid in workers}, "the other one")
    for pid in (server.pid, *workers):
        assert server.act("limit", pid) == "PermissionError"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as outside:
        outside.bind("")
        outside.listen()
        assert server.act("abstract", outside.getsockname()[1:].decode()) == "PermissionError"
    for call in (PTRACE, IO_URING_SETUP):
        assert server.act("call", call) == "PermissionError"


@whole
def test_every_thread_of_a_worker_is_restricted(start: StartSandboxed) -> None:
    server = start()
    assert len(server.act("threads", "Pid").split()) > 1, "it has a guard"
    assert set(server.act("threads", "NoNewPrivs").split()) == {"1"}
    assert set(server.act("threads", "Seccomp").split()) == {"2"}


@whole
def test_what_an_ordinary_application_does_is_possible(start: StartSandboxed) -> None:
    server = start("--spool-above", "0")
    assert server.act("allowed") == "done"
    assert server.request("/status?Seccomp", "POST", b"x" * (1 << 20))[0] == 200
    assert server.err == []


@whole
def test_the_manager_is_not_restricted(start: StartSandboxed) -> None:
    server = start()
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert "NoNewPrivs:\t0" in status
    assert "Seccomp:\t0" in status


@whole
def test_workers_that_take_the_place_of_others_are_restricted_too(start: StartSandboxed) -> None:
    server = start("--max-requests", "1")
    for _ in range(6):
        assert server.act("status", "Seccomp") == "2"
    wait_until(lambda: server.status()["totals"]["spare"] == 2, "two spares")
    assert "ERROR" not in server.log


@whole
def test_a_reload_changes_what_new_workers_may_do(start: StartSandboxed, tmp_path: Path) -> None:
    data, config = tmp_path / "data", tmp_path / "prefork.toml"
    data.mkdir()
    config.touch()
    server = start("-c", str(config))
    assert server.act("write", data / "new") == "PermissionError"
    config.write_text(f'sandbox_write = ["{tmp_path / "nowhere"}"]\n')
    server.signal(signal.SIGHUP)
    server.wait_log(f"there is no {tmp_path / 'nowhere'}")
    assert server.act("write", data / "new") == "PermissionError"
    config.write_text(f'sandbox_write = ["{data}"]\n')
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.act("write", data / "new") == "written", "a new worker")
    assert server.act("write", tmp_path / "new") == "PermissionError"


@whole
def test_the_access_log_follows_a_rotation(start: StartSandboxed, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    server = start("--access-log", str(logs / "access.log"))
    server.act("status", "Seccomp")
    wait_until((logs / "access.log").read_text, "its line")  # it comes after the response
    (logs / "access.log").rename(logs / "access.log.1")

    def is_begun() -> bool:
        server.act("status", "Pid")
        return (logs / "access.log").exists() and bool((logs / "access.log").read_text())

    wait_until(is_begun, "a new log")  # it is looked whether there is one, but not at each line
    assert "GET /status?Seccomp" in (logs / "access.log.1").read_text()
    assert "GET /status?Pid" in (logs / "access.log").read_text()
    assert server.act("write", logs / "access.log") == "PermissionError", "it may not cut it"


@whole
@pytest.mark.parametrize("how", ["fail", "logged"])
def test_what_was_refused_is_hinted_at_once(
    start: StartSandboxed, tmp_path: Path, listener: socket.socket, how: str
) -> None:
    server = start()
    for _ in range(2):
        server.request(f"/{how}/write?{tmp_path / 'new'}")
    line = server.wait_log("--sandbox refused")
    assert line.endswith(
        f"--sandbox refused to change {tmp_path / 'new'}: add --sandbox-write {tmp_path}, if it may"
    )
    server.request(f"/{how}/connect?{listener.getsockname()[1]}")
    server.wait_log("add --sandbox-connect")
    server.request(f"/{how}/signal?{server.pid}")
    server.wait_log("a signal to another process")
    assert server.log.count(f"refused to change {tmp_path / 'new'}") <= 2, "once in each worker"


@whole
def test_threads_that_were_started_at_the_fork_are_told(start: StartSandboxed) -> None:
    server = start(target=f"{APPS / 'sandboxed_threads.py'}:app", sandbox="on")
    server.wait_log("1 threads were started at the fork, before the sandbox")
    assert server.act("status", "Seccomp") == "2"


@whole
def test_threads_that_were_started_at_the_fork_are_no_start_where_all_is_required() -> None:
    app = f"{APPS / 'sandboxed_threads.py'}:app"
    done = run_prefork("serve", app, "--bind", "127.0.0.1:0", "--sandbox", "required")
    assert done.returncode == 3
    assert "1 threads were started at the fork, before the sandbox" in done.stderr


@whole
@pytest.mark.parametrize(
    ("calls", "lacks"),
    [
        (LANDLOCK, "writes to files (Landlock, Linux 5.13), connections (Landlock, Linux 6.7), signals and"),
        (
            LANDLOCK[2:],
            "writes to files (Landlock, Linux 5.13), connections (Landlock, Linux 6.7), signals and",
        ),
        (SECCOMP, "system calls (seccomp)"),
    ],
    ids=["no landlock", "no restriction", "no seccomp"],
)
def test_where_a_container_forbids_it_one_line_says_what_is_lacking(
    start: StartSandboxed, calls: tuple[int, ...], lacks: str
) -> None:
    server = start(sandbox="on", preexec_fn=refusing(errno.EPERM, *calls))
    assert server.act("status", "NoNewPrivs") == "1"
    assert server.act("status", "Seccomp") == "2", "that of the container at least"
    (line,) = server.err
    assert f"--sandbox: this system cannot restrict {lacks}" in line


@whole
@pytest.mark.parametrize("refused", [errno.EPERM, errno.ENOSYS])
def test_required_does_not_start_without_all_of_it(refused: int) -> None:
    server = start_server(
        APP, "--bind", "127.0.0.1:0", "--sandbox", "required", preexec_fn=refusing(refused, *LANDLOCK)
    )
    assert server.wait() == 3
    (line,) = server.err
    assert "sandbox is required, and this system cannot restrict writes to files" in line
    assert server.out == []


def fails(*flags: str) -> Finished:
    done = run_prefork("serve", APP, "--bind", "127.0.0.1:0", *flags)
    assert done.returncode == 2
    return done


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--sandbox", "on", "--sandbox-write", "/is/not/there"), "there is no /is/not/there"),
        (("--sandbox-write", "/tmp"), "sandbox_write and sandbox_connect need sandbox"),
        (("--sandbox", "on", "--start", "0"), "sandbox is for workers, and start_servers is 0"),
        (("--sandbox", "on", "--sandbox-connect", "0"), "expected a port from 1 to 65535, or 'any', got '0'"),
        (("--sandbox", "yes"), "'off'"),
    ],
)
def test_a_wrong_use_is_one_line(flags: tuple[str, ...], line: str) -> None:
    done = fails(*flags)
    assert line in done.stderr
    assert "Traceback" not in done.stderr
