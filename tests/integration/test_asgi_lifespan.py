"""The lifespan of an ASGI application in each process that serves, and what happens if it goes wrong."""

from __future__ import annotations

import signal

import pytest

from support.apps import APPS, ASGI_APP
from support.server import Finished, Serve, environment, run_prefork, start_server
from support.waiting import wait_until
from support.websocket import CLOSE, RawSocket, frame

LIFESPAN = APPS / "asgi_lifespan.py"

STARTED = {"type": "lifespan.startup.complete"}
FAILS = [{"type": "lifespan.startup.failed", "message": "Traceback ...\nDown: no database"}]
COMPLETES = [STARTED, "receive", "receive"]


def steps(*taken: object) -> dict[str, object]:
    """The parameters of `apps/asgi_lifespan.py`."""
    return {"steps": taken}


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    return "--loop", request.param


def refuse(parameters: dict[str, object], *options: str) -> Finished:
    """What a server prints that cannot start."""
    arguments = ("serve", str(LIFESPAN), "--bind", "127.0.0.1:0", "--start", "0", *options)
    return run_prefork(*arguments, env=environment(parameters))


def test_each_worker_starts_up_and_shuts_down(serve: Serve) -> None:
    server = serve(ASGI_APP, "--workers", "3")
    wait_until(lambda: len(server.workers("spare")) == 3, "three workers")
    assert server.stop() == 0
    assert server.log.count("shut down") == 3


def test_it_starts_up_before_it_accepts(serve: Serve, loop: tuple[str, str]) -> None:
    parameters = steps(("sleep", 0.2), ("set", "x", 1), *COMPLETES)
    server = serve(LIFESPAN, "--start", "0", *loop, parameters=parameters)
    assert server.get("/") == b"{'x': 1}"


@pytest.mark.parametrize("lifespan", [[("raise", "http only")], [], [("expect", "http")]])
def test_an_application_without_one_is_served(
    serve: Serve, loop: tuple[str, str], lifespan: list[object]
) -> None:
    server = serve(LIFESPAN, "--start", "0", *loop, parameters=steps(*lifespan))
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def test_one_that_fails_to_start_is_no_secret(serve: Serve) -> None:
    server = serve(LIFESPAN, "--start", "0", parameters=steps("receive", ("raise", "no database")))
    line = server.wait_log("failed to start, and is served all the same (--lifespan auto)")
    assert line.endswith(": ValueError('no database')")
    server.wait_log("in take")  # the place
    assert server.get("/") == b"{}"


def test_one_that_fails_later_is_logged_when_it_does(serve: Serve, loop: tuple[str, str]) -> None:
    parameters = steps("receive", STARTED, ("raise", "later"))
    server = serve(LIFESPAN, "--start", "0", *loop, parameters=parameters)
    server.wait_log("application app: its lifespan failed: ValueError('later')")
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    assert server.log.count("its lifespan failed") == 1


def test_off_does_not_call_it(serve: Serve) -> None:
    server = serve(LIFESPAN, "--start", "0", "--lifespan", "off", parameters=steps(*FAILS))
    assert server.get("/") == b"{}"


def test_one_that_says_it_failed_is_told_in_its_words(loop: tuple[str, str]) -> None:
    for mode in ("auto", "on"):
        done = refuse(steps(*FAILS), "--lifespan", mode, *loop)
        assert done.returncode == 3
        assert done.stderr.endswith(
            "the application failed to start: application app failed to start:\n"
            "  Traceback ...\n  Down: no database\n"
        )


def test_one_that_exits_does_not_serve(loop: tuple[str, str]) -> None:
    done = refuse(steps("receive", ("exit", 7)), *loop)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith("application app raised SystemExit(7) in its lifespan")


def test_on_insists() -> None:
    done = refuse(steps(), "--lifespan", "on")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "returned before lifespan.startup.complete; if it has none, use --lifespan off" in line
    done = refuse(steps(("raise", "on purpose")), "--lifespan", "on")
    assert done.returncode == 3
    assert "the application failed to start: on purpose" in done.stderr
    assert done.stderr.splitlines()[-1] == "  ValueError: on purpose"


def test_the_manager_backs_off_from_workers_that_fail() -> None:
    server = start_server(str(LIFESPAN), "--bind", "127.0.0.1:0", "--workers", "2", parameters=steps(*FAILS))
    try:
        assert server.wait() == 3
    finally:
        server.kill()
    assert "worker failed to start: application app failed to start:" in server.log
    assert "Down: no database" in server.log
    assert "trying again" in server.log
    assert "Traceback" not in server.log.replace("Traceback ...", "")


def test_a_startup_that_hangs_can_be_stopped(loop: tuple[str, str]) -> None:
    arguments = (str(LIFESPAN), "--bind", "127.0.0.1:0", "--start", "0", *loop)
    server = start_server(*arguments, parameters=steps(("sleep", 60)))
    try:
        wait_until(lambda: "sleeps" in server.out, "its beginning")
        assert server.stop() == 0
        assert "Traceback" not in server.log
    finally:
        server.kill()


def test_a_startup_that_hangs_in_a_worker_is_timed_out() -> None:
    arguments = (str(LIFESPAN), "--bind", "127.0.0.1:0", "--workers", "1", "--boot-timeout", "0.5")
    server = start_server(*arguments, parameters=steps(("sleep", 60)))
    try:
        server.wait_log("it did not start within boot_timeout (0.5 s)")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    finally:
        server.kill()


def test_a_shutdown_that_hangs_is_bounded(serve: Serve, loop: tuple[str, str]) -> None:
    parameters = steps(*COMPLETES, ("sleep", 60))
    server = serve(LIFESPAN, "--start", "0", "--graceful-timeout", "0.5", *loop, parameters=parameters)
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    (line,) = (line for line in server.err if " ERROR " in line)
    assert "the application did not shut down within graceful_timeout" in line


@pytest.mark.parametrize(
    ("lifespan", "expected"),
    [
        ([*COMPLETES, ("raise", "on purpose")], "its lifespan failed: ValueError('on purpose')"),
        (
            [*COMPLETES, {"type": "lifespan.shutdown.failed", "message": "still busy"}],
            "failed to shut down: still busy",
        ),
        (
            [STARTED, ("raise", "early")],
            "its lifespan failed: ValueError('early')",
        ),
        (
            [STARTED, {"type": "http.response.start"}],
            "sent http.response.start in its lifespan, where it has no place",
        ),
    ],
)
def test_a_shutdown_that_fails_is_one_error(
    serve: Serve, loop: tuple[str, str], lifespan: list[object], expected: str
) -> None:
    server = serve(LIFESPAN, "--start", "0", *loop, parameters=steps(*lifespan))
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    (line,) = (line for line in server.err if " ERROR " in line)
    assert expected in line
    # What was raised has its place in the log.
    assert ("in take" in server.log) == ("its lifespan failed" in line)


def test_a_shutdown_without_a_message_is_fine(serve: Serve) -> None:
    server = serve(LIFESPAN, "--start", "0", parameters=steps(*COMPLETES))
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_starlette_says_why_it_cannot_start() -> None:
    target = APPS / "starlette_fails.py"
    done = run_prefork("serve", str(target), "--bind", "127.0.0.1:0", "--start", "0")
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert lines[0].endswith("application Starlette failed to start:")
    assert lines[-1] == "  ValueError: no database"


# What outlasts its connection

OUTLASTS = APPS / "asgi_outlasts.py"


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_it_shuts_down_after_what_outlasts_its_connection(
    serve: Serve, loop: tuple[str, str], kind: str
) -> None:
    server = serve(OUTLASTS, "--start", "0", *loop, parameters={"seconds": 0.3})
    if kind == "http":
        assert server.get("/") == b"hello"
    else:
        with RawSocket(server) as client:
            client.send(frame(CLOSE))
    server.wait_log("begun")
    assert server.stop() == 0
    assert [line for line in server.err if " " not in line or line == "shut down"] == [
        "begun",
        "saved",
        "shut down",
    ]


def test_a_worker_that_is_replaced_ends_what_it_has_begun(serve: Serve) -> None:
    server = serve(OUTLASTS, "--workers", "2", "--max-requests", "3", parameters={"seconds": 0.1})
    for _ in range(20):
        assert server.get("/") == b"hello"
    wait_until(lambda: server.log.count("saved") == 20, "all to be saved")
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_what_outlasts_everything_is_cancelled_before_it_shuts_down(
    serve: Serve, loop: tuple[str, str]
) -> None:
    server = serve(OUTLASTS, "--start", "0", "--graceful-timeout", "0.3", *loop, parameters={"seconds": 60})
    assert server.get("/") == b"hello"
    server.wait_log("begun")
    assert server.stop() == 0
    cancelled = server.wait_log("cancelling 1 calls of the application that did not end")
    assert server.err.index(cancelled) < server.err.index("shut down")
    assert "saved" not in server.log


def test_a_second_signal_waits_for_nothing(serve: Serve) -> None:
    server = serve(OUTLASTS, "--start", "0", parameters={"seconds": 60})
    assert server.get("/") == b"hello"
    server.wait_log("begun")
    server.signal(signal.SIGTERM)
    server.wait_log("SIGTERM: stopping")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "shut down" in server.log


def test_an_event_handler_may_outlast_its_response_as_well(serve: Serve) -> None:
    server = serve(APPS / "event_outlasts.py")
    assert server.get("/") == b"hello"
    assert server.stop() == 0
    assert "saved" in server.err
