"""A worker that ends finishes what the application began in it, and leaves no process behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import alive
from support.server import Server, run_prefork, running
from support.waiting import wait_until

APP = APPS / "endings.py"
HOOKS = [f"--worker-{when}=endings:worker_{when}" for when in ("start", "exit", "died")]

KINDS = {
    "wsgi": ("wsgi",),
    "threads": ("wsgi", "--threads", "2"),
    "asgi": ("asgi",),
    "uvloop": ("asgi", "--loop", "uvloop"),
    "static": ("wsgi", "--static", "/none=."),
    "events": ("server",),
}


@contextlib.contextmanager
def serving(directory: Path, kind: str, *flags: str) -> Iterator[Server]:
    name, *more = KINDS[kind]
    where = ("--bind", "127.0.0.1:0", "--workers", "1")
    with running(f"{APP}:{name}", *where, *more, *flags, cwd=directory) as server:
        yield server


def done(directory: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (directory / "done").read_text().splitlines()
    return []


def exits(directory: Path) -> list[str]:
    return [line for line in done(directory) if "exit" in line]


OF_ANY = [("/threads", "thread"), ("/executor", "job")]
OF_ASGI = [("/to-thread", "job of the loop")]


@pytest.mark.parametrize(
    ("kind", "ends"),
    [(kind, ends) for kind in KINDS for ends in (OF_ANY + OF_ASGI if "asgi" in KINDS[kind] else OF_ANY)],
)
def test_threads_and_jobs_of_executors_are_finished(tmp_path: Path, kind: str, ends: tuple[str, str]) -> None:
    with serving(tmp_path, kind) as server:
        path, what = ends
        server.get(path)
        assert server.stop() == 0
        assert what in done(tmp_path)
        assert "ERROR" not in server.log


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_registered_runs_at_its_end_but_not_what_a_program_has_for_its_own(
    tmp_path: Path, kind: str
) -> None:
    # Registered at import: that of a program is in the manager, that of an application in a mold.
    of_application, of_program = (
        ([], ["exit of the manager"]) if kind == "events" else (["exit of a worker"], [])
    )
    with serving(tmp_path, kind) as server:
        directory = Path(server.get("/atexit").decode())
        assert directory.is_dir()
        server.signal(signal.SIGHUP)
        wait_until(lambda: exits(tmp_path) == ["atexit", *of_application], "the end of the first worker")
        wait_until(lambda: not directory.exists(), "its finalizers")
        assert server.stop() == 0
        assert exits(tmp_path) == ["atexit", *of_application, *of_application, *of_program]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_to_end_does_not_cut_its_end_short(tmp_path: Path, kind: str) -> None:
    """It is retired already, and its loop closed, when the server stops."""
    with serving(tmp_path, kind, *HOOKS) as server:
        (old,) = server.workers()
        server.get("/until-told")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "worker_exit" in done(tmp_path), "the end of its loop")
        os.kill(old, signal.SIGINT)
        server.signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM: stopping" in server.log, "the server's stop")
        os.kill(old, signal.SIGTERM)
        (tmp_path / "told").touch()
        assert server.wait() == 0
        assert "thread" in done(tmp_path)
        assert f"worker {old} ended" not in server.log
        assert "Traceback" not in server.log


@pytest.mark.parametrize("path", ["/daemon", "/pool", "/fork", "/program"])
@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_its_child_processes_end_with_it(tmp_path: Path, kind: str, path: str) -> None:
    with serving(tmp_path, kind) as server:
        child = int(server.get(path))
        assert alive(child)
        worker = server.workers()[0]
        server.signal(signal.SIGHUP)
        wait_until(lambda: not alive(worker), "the worker's end")
        wait_until(lambda: not alive(child), "the child's end")
        assert server.stop() == 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_is_forked_at_its_end_hears_that_it_is_to_end(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path, kind, "--worker-exit", "endings:end_a_child") as server:
        server.get("/child-at-exit")
        assert server.stop() == 0
    assert done(tmp_path).count(f"child {-signal.SIGTERM}") == 2


@pytest.mark.parametrize("hook", ["start", "exit"])
@pytest.mark.parametrize("kind", ["wsgi", "asgi", "uvloop"])
def test_a_child_that_a_hook_forks_ends_when_it_returns(tmp_path: Path, kind: str, hook: str) -> None:
    with serving(tmp_path, kind, f"--worker-{hook}", "endings:fork_a_child") as server:
        server.get("/")
        assert server.stop() == 0
        (child,) = [int(line.split()[1]) for line in done(tmp_path) if line.startswith("forked")]
        wait_until(lambda: not alive(child), "the child's end")
        assert exits(tmp_path) == ["exit of a worker"]
        assert "ERROR" not in server.log
        assert "Traceback" not in server.log


def test_a_program_with_a_session_of_its_own_outlives_it(tmp_path: Path) -> None:
    with serving(tmp_path, "wsgi") as server:
        child = int(server.get("/detached"))
        assert server.stop() == 0
    assert alive(child)
    os.kill(child, signal.SIGKILL)


THREADS_LEFT = "threads of the application did not end within graceful_timeout"
TASKS_LEFT = "1 tasks of the application did not end in time"


@pytest.mark.parametrize(
    ("kind", "path", "told"),
    [("wsgi", "/stuck", THREADS_LEFT)]
    + [
        (kind, path, told)
        for kind in ("asgi", "uvloop")
        for path, told in (
            ("/stuck", THREADS_LEFT),
            ("/stuck-job", THREADS_LEFT),
            ("/stuck-task", TASKS_LEFT),
            ("/stuck-generator", "asynchronous generators of the application did not end in time"),
        )
    ],
)
def test_what_is_stuck_is_left_when_the_time_is_over(tmp_path: Path, kind: str, path: str, told: str) -> None:
    with serving(tmp_path, kind, "--graceful-timeout", "0.5") as server:
        server.get(path)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 6
        assert told in server.log
        assert "killing worker" not in server.log
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log
        assert "atexit" in done(tmp_path), "the rest of the end comes all the same"


def test_a_worker_hears_that_it_is_to_end_although_a_call_ran_a_loop_with_signals(tmp_path: Path) -> None:
    with serving(tmp_path, "wsgi") as server:
        server.get("/loop")
        assert server.stop() == 0
        assert "killing worker" not in server.log


def test_hooks_are_called_where_they_belong(tmp_path: Path) -> None:
    with serving(tmp_path, "asgi", *HOOKS) as server:
        first = server.workers()[0]
        server.get("/threads")
        server.get("/executor")
        os.kill(first, signal.SIGTERM)  # at once: threads and jobs last for 0.3 s
        wait_until(lambda: f"died {first} 0" in done(tmp_path), "its death")
        wait_until(lambda: done(tmp_path).count("start True") == 2, "the second")
        (second,) = server.workers()
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: f"died {second} -9" in done(tmp_path), "its death")
        wait_until(lambda: done(tmp_path).count("start True") == 3, "the third")
        assert server.stop() == 0
    seen = done(tmp_path)
    assert "start False" not in seen
    of_first = [line for line in seen[: seen.index(f"died {first} 0")] if not line.startswith("start")]
    assert of_first[:2] == ["lifespan", "worker_exit"]
    assert set(of_first[2:-1]) == {"thread", "job"}
    assert of_first[-1] == "exit of a worker", "threads may still use what it closes"


def test_without_a_pool_the_hooks_that_are_not_called_are_named(tmp_path: Path) -> None:
    where = ("--bind", "127.0.0.1:0", "--start", "0")
    with running(f"{APP}:wsgi", *where, *HOOKS, cwd=tmp_path) as server:
        assert server.get("/") == f"{server.pid}".encode()
        for when in ("start", "exit", "died"):
            server.wait_log(f"there is no worker: worker_{when} is not called")
        assert server.stop() == 0
    assert done(tmp_path) == ["exit of the manager"]


def test_a_worker_whose_start_hook_fails_does_not_begin(tmp_path: Path) -> None:
    hook = ("--worker-start", "endings:fails", "--boot-failures", "1", "--workers", "1")
    finished = run_prefork("serve", f"{APP}:wsgi", "--bind", "127.0.0.1:0", *hook, cwd=tmp_path)
    assert finished.returncode == 3
    assert finished.stderr.splitlines()[-1].endswith("the first one failed: ValueError: no start of True")


def test_what_a_worker_began_before_it_failed_to_start_is_ended(tmp_path: Path) -> None:
    hook = ("--worker-start", "endings:fail_with_a_program", "--boot-failures", "1", "--workers", "1")
    finished = run_prefork("serve", f"{APP}:wsgi", "--bind", "127.0.0.1:0", *hook, *HOOKS[1:2], cwd=tmp_path)
    assert finished.returncode == 3
    (program,) = [int(line.split()[1]) for line in done(tmp_path) if line.startswith("program")]
    assert not alive(program)
    assert "atexit" in done(tmp_path)
    assert "worker_exit" in done(tmp_path)
    assert "trying again" not in finished.stderr


@pytest.mark.parametrize("kind", ["asgi", "uvloop"])
def test_a_worker_that_exits_takes_no_work_while_its_tasks_refuse_to_end(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path, kind, "--graceful-timeout", "3") as server:
        (worker,) = server.workers()
        with contextlib.suppress(OSError, http.client.HTTPException):  # its end may be first
            server.get("/exit")
        wait_until(lambda: server.workers("spare") not in ([], [worker]), "another worker")
        assert server.get("/") != f"{worker}".encode()
        server.wait_log(f"worker {worker} ended: exit status 5")
        assert TASKS_LEFT in server.log
        assert "Traceback" not in server.log
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("endings", "expected module:function or a function"),
        ("nowhere:start", "No module named 'nowhere'"),
        ("endings:strat", "no attribute 'strat'; expected module:function"),
        ("endings:asgi", "is no plain function"),
        ("endings:unknown", "unknown has the parameter server; it may have pid"),
    ],
)
def test_a_hook_that_is_none_is_one_line(tmp_path: Path, hook: str, said: str) -> None:
    arguments = ("--bind", "127.0.0.1:0", "--worker-start", hook)
    finished = run_prefork("serve", f"{APP}:wsgi", *arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1
    assert said in finished.stderr
