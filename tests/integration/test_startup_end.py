"""A process that is told to end while it starts: what its application has begun is ended, as at every end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import wait_ended
from support.server import Server, start_server
from support.waiting import wait_until

APP = APPS / "starts_slowly.py"
HOOKS = ("--worker-start", "starts_slowly:worker_start", "--worker-exit", "starts_slowly:worker_exit")

KINDS = {
    "asgi": ("asgi", "--workers", "1"),
    "uvloop": ("asgi", "--workers", "1", "--loop", "uvloop"),
    "events": ("server", "--workers", "1"),
}
ALONE = {
    "alone": ("asgi", "--start", "0"),
    "alone on uvloop": ("asgi", "--start", "0", "--loop", "uvloop"),
}
IN_POOL = pytest.mark.parametrize("kind", KINDS)
ANY = pytest.mark.parametrize("kind", [*KINDS, *ALONE])


@contextlib.contextmanager
def starting(directory: Path, kind: str, *flags: str, **parameters: str) -> Iterator[tuple[Server, int]]:
    """A server, and the process whose startup has begun."""
    application, *pool = (KINDS | ALONE)[kind]
    hooks = HOOKS if kind in KINDS else ()
    arguments = (f"{APP}:{application}", "--bind", "127.0.0.1:0", *pool, *hooks, *flags)
    server = start_server(*arguments, parameters=parameters, cwd=directory)
    try:
        wait_until(lambda: begun(directory), "the beginning of its startup")
        yield server, begun(directory)
    finally:
        server.kill()


def done(directory: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (directory / "done").read_text().splitlines()
    return []


def begun(directory: Path) -> int:
    return next((int(line.split()[1]) for line in done(directory) if line.startswith("begun")), 0)


def steps(directory: Path) -> list[str]:
    """Without the line that has the pid, and the thread's, which runs beside the others."""
    return [line for line in done(directory) if line != "thread" and not line.startswith("begun")]


def check_quiet(server: Server) -> None:
    for text in ("ERROR", "Traceback", "failed to start", "killing", "ended before"):
        assert text not in server.log


ENDS = {"asgi": ["shut down"], "uvloop": ["shut down"], "events": ["_stop"]}


@pytest.mark.parametrize("how", ["waits", "waits and blocks"])
@ANY
def test_a_startup_comes_to_its_end_and_then_its_application_shuts_down(
    tmp_path: Path, kind: str, how: str
) -> None:
    with starting(tmp_path, kind, how=how) as (server, _):
        server.signal(signal.SIGTERM)
        if "blocks" not in how or kind in KINDS:
            server.wait_log("SIGTERM: stopping")
        (tmp_path / "told").touch()
        assert server.wait() == 0
        check_quiet(server)
    assert "thread" in done(tmp_path)
    ends = [*ENDS.get(kind, ["shut down"]), *(["worker_exit"] if kind in KINDS else [])]
    assert [line for line in steps(tmp_path) if line != "atexit"][: 1 + len(ends)] == ["started", *ends]
    assert "atexit" in done(tmp_path)
    assert "warm" not in done(tmp_path), "what had not begun does not begin"


@IN_POOL
def test_term_to_the_worker_alone_is_no_failed_start(tmp_path: Path, kind: str) -> None:
    with starting(tmp_path, kind, how="waits") as (server, worker):
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGTERM)
        (tmp_path / "told").touch()
        wait_ended([worker])
        server.wait_serving()
        assert worker not in server.workers()
        assert server.status()["manager"]["boot_failed"] == 0
        assert server.stop() == 0
        check_quiet(server)
    assert "worker_exit" in done(tmp_path)


@ANY
def test_a_startup_that_hangs_is_cancelled(tmp_path: Path, kind: str) -> None:
    with starting(tmp_path, kind, how="hangs") as (server, _):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        check_quiet(server)
        assert "cancelling the startup of the application" in server.log
    assert {"cancelled", "thread", "atexit"} <= set(done(tmp_path))
    assert "started" not in done(tmp_path)
    assert ("worker_exit" in done(tmp_path)) == (kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, how) for kind in [*KINDS, *ALONE] for how in ("blocks", "waits for another thread")),
        *((kind, how) for kind in ("asgi", "alone") for how in ("retries", "blocks and cleans up")),
    ],
)
def test_a_startup_that_blocks_is_interrupted(tmp_path: Path, kind: str, how: str) -> None:
    began = time.monotonic()
    with starting(tmp_path, kind, how=how) as (server, _):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        check_quiet(server)
        assert "interrupted the startup of the application, which did not end in time" in server.log
    assert time.monotonic() - began < 60, "it would block for ten minutes"
    assert ("cleaned up" in done(tmp_path)) == ("cleans up" in how)
    assert {"thread", "atexit"} <= set(done(tmp_path))
    assert ("worker_exit" in done(tmp_path)) == (kind in KINDS)


@pytest.mark.parametrize("how", ["waits", "blocks"])
@IN_POOL
def test_a_hook_comes_to_its_end_or_is_interrupted(tmp_path: Path, kind: str, how: str) -> None:
    with starting(tmp_path, kind, how=how, where="hook") as (server, _):
        server.signal(signal.SIGTERM)
        server.wait_log("SIGTERM: stopping")
        (tmp_path / "told").touch()
        assert server.wait() == 0
        check_quiet(server)
    assert {"worker_exit", "thread", "atexit"} <= set(done(tmp_path))
    assert ("started" in done(tmp_path)) == (how == "waits")
    assert len([line for line in done(tmp_path) if line.startswith("begun")]) == 1, "no startup follows it"


def test_its_time_is_not_longer_than_graceful_timeout(tmp_path: Path) -> None:
    with starting(tmp_path, "asgi", "--graceful-timeout", "0", how="hangs") as (server, _):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        check_quiet(server)
    assert "started" not in done(tmp_path)


@ANY
def test_a_startup_that_fails_after_the_signal_is_one_warning(tmp_path: Path, kind: str) -> None:
    flags = () if kind == "events" else ("--lifespan", "on")
    with starting(tmp_path, kind, *flags, how="fails") as (server, _):
        server.signal(signal.SIGTERM)
        server.wait_log("SIGTERM: stopping")
        (tmp_path / "told").touch()
        assert server.wait() == 0
        check_quiet(server)
        server.wait_log("the process ends, and the application's startup with it: no database")
    assert {"thread", "atexit"} <= set(done(tmp_path))


@pytest.mark.parametrize(
    "signals", [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM)], ids=["quit", "twice"]
)
def test_at_a_fast_stop_a_startup_that_blocks_is_interrupted_soon(
    tmp_path: Path, signals: tuple[int, ...]
) -> None:
    how, flags = "waits for another thread", ("--graceful-timeout", "600")
    with starting(tmp_path, "alone", *flags, how=how) as (server, _):
        began = time.monotonic()
        for signum in signals:
            server.signal(signum)
            time.sleep(0.1)  # two that come together are one
        assert server.wait() == 0
        assert time.monotonic() - began < 3, "it is sooner than at a graceful stop"
        check_quiet(server)


@pytest.mark.parametrize(
    "signals", [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM)], ids=["quit", "twice"]
)
@pytest.mark.parametrize("kind", ALONE)
def test_at_a_fast_stop_a_startup_is_cancelled_at_once(
    tmp_path: Path, kind: str, signals: tuple[int, ...]
) -> None:
    with starting(tmp_path, kind, how="hangs") as (server, _):
        for signum in signals:
            server.signal(signum)
            server.wait_log("stopping")
        assert server.wait() == 0
        check_quiet(server)
    assert "cancelled" in done(tmp_path)
