"""The lifespan of an ASGI application in each process that serves, and what happens if it goes wrong."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.apps import APPS, ASGI_APP
from support.server import Finished, Serve, run_prefork, start_server, write_app
from support.waiting import wait_until
from support.websocket import CLOSE, RawSocket, frame

APP = """
    import asyncio, os

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        else:
            await send({{"type": "http.response.start", "status": 200}})
            await send({{"type": "http.response.body", "body": repr(scope["state"]).encode()}})

    async def lifespan(scope, receive, send):
        {}
"""

FAILS = """await send({"type": "lifespan.startup.failed", "message": "Traceback ...\\nDown: no database"})"""
COMPLETES = """await send({"type": "lifespan.startup.complete"}); await receive(); await receive(); """


def app(lifespan: str) -> str:
    return APP.format(lifespan)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    return "--loop", request.param


def refuse(tmp_path: Path, lifespan: str, *options: str) -> Finished:
    """What a server prints that cannot start."""
    target = write_app(tmp_path, app(lifespan))
    return run_prefork("serve", str(target), "--bind", "127.0.0.1:0", "--start", "0", *options)


def test_each_worker_starts_up_and_shuts_down(serve: Serve) -> None:
    server = serve(ASGI_APP, "--workers", "3")
    wait_until(lambda: len(server.workers("spare")) == 3, "three workers")
    assert server.stop() == 0
    assert server.log.count("shut down") == 3


def test_it_starts_up_before_it_accepts(serve: Serve, loop: tuple[str, str]) -> None:
    server = serve(
        app("await asyncio.sleep(0.2); scope['state']['x'] = 1; " + COMPLETES), "--start", "0", *loop
    )
    assert server.get("/") == b"{'x': 1}"


@pytest.mark.parametrize(
    "lifespan", ["raise ValueError('http only')", "return", "assert scope['type'] == 'http'"]
)
def test_an_application_without_one_is_served(serve: Serve, loop: tuple[str, str], lifespan: str) -> None:
    server = serve(app(lifespan), "--start", "0", *loop)
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def test_one_that_fails_to_start_is_no_secret(serve: Serve) -> None:
    server = serve(app("await receive(); raise ValueError('no database')"), "--start", "0")
    line = server.wait_log("failed to start, and is served all the same (--lifespan auto)")
    assert line.endswith(": ValueError: no database")
    assert server.get("/") == b"{}"


def test_one_that_fails_later_is_logged_when_it_does(serve: Serve, loop: tuple[str, str]) -> None:
    fails = "await receive(); await send({'type': 'lifespan.startup.complete'}); raise ValueError('later')"
    server = serve(app(fails), "--start", "0", *loop)
    server.wait_log("application app: its lifespan failed: ValueError: later")
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    assert server.log.count("its lifespan failed") == 1


def test_off_does_not_call_it(serve: Serve) -> None:
    server = serve(app(FAILS), "--start", "0", "--lifespan", "off")
    assert server.get("/") == b"{}"


def test_one_that_says_it_failed_is_one_line(tmp_path: Path, loop: tuple[str, str]) -> None:
    for mode in ("auto", "on"):
        done = refuse(tmp_path, FAILS, "--lifespan", mode, *loop)
        assert done.returncode == 3
        (line,) = done.stderr.splitlines()
        assert line.endswith(
            "the application failed to start: application app failed to start: Down: no database"
        )


def test_on_insists(tmp_path: Path) -> None:
    done = refuse(tmp_path, "return", "--lifespan", "on")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "returned before lifespan.startup.complete; if it has none, use --lifespan off" in line
    done = refuse(tmp_path, "raise ValueError('on purpose')", "--lifespan", "on")
    assert done.returncode == 3
    assert "the application failed to start: on purpose" in done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: on purpose"


def test_the_manager_backs_off_from_workers_that_fail(serve: Serve) -> None:
    server = serve(app(FAILS), "--workers", "2")
    server.wait_log("worker failed to start: application app failed to start: Down: no database")
    server.wait_log("trying again")
    assert "Traceback" not in server.log.replace("Traceback ...", "")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_startup_that_hangs_can_be_stopped(tmp_path: Path, loop: tuple[str, str]) -> None:
    target = write_app(tmp_path, app("print('hangs', flush=True); await asyncio.sleep(60)"))
    server = start_server(str(target), "--bind", "127.0.0.1:0", "--start", "0", *loop)
    try:
        wait_until(lambda: "hangs" in server.out, "its beginning")
        assert server.stop() == 0
        assert "Traceback" not in server.log
    finally:
        server.kill()


def test_a_startup_that_hangs_in_a_worker_is_timed_out(serve: Serve) -> None:
    server = serve(app("await asyncio.sleep(60)"), "--workers", "1", "--boot-timeout", "0.5")
    server.wait_log("it did not start within boot_timeout (0.5 s)")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_shutdown_that_hangs_is_bounded(serve: Serve, loop: tuple[str, str]) -> None:
    server = serve(
        app(COMPLETES + "await asyncio.sleep(60)"), "--start", "0", "--graceful-timeout", "0.5", *loop
    )
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    (line,) = (line for line in server.err if " ERROR " in line)
    assert "the application did not shut down within graceful_timeout" in line


@pytest.mark.parametrize(
    ("lifespan", "expected"),
    [
        (COMPLETES + "raise ValueError('on purpose')", "its lifespan failed: ValueError: on purpose"),
        (
            COMPLETES + "await send({'type': 'lifespan.shutdown.failed', 'message': 'still busy'})",
            "failed to shut down: still busy",
        ),
        (
            "await send({'type': 'lifespan.startup.complete'}); raise ValueError('early')",
            "its lifespan failed: ValueError: early",
        ),
        (
            "await send({'type': 'lifespan.startup.complete'}); await send({'type': 'http.response.start'})",
            "sent http.response.start in its lifespan, where it has no place",
        ),
    ],
)
def test_a_shutdown_that_fails_is_one_line(
    serve: Serve, loop: tuple[str, str], lifespan: str, expected: str
) -> None:
    server = serve(app(lifespan), "--start", "0", *loop)
    assert server.get("/") == b"{}"
    assert server.stop() == 0
    (line,) = (line for line in server.err if " ERROR " in line)
    assert expected in line
    assert "Traceback" not in server.log


def test_a_shutdown_without_a_message_is_fine(serve: Serve) -> None:
    server = serve(app(COMPLETES), "--start", "0")
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_starlette_says_why_it_cannot_start() -> None:
    target = APPS / "starlette_fails.py"
    done = run_prefork("serve", str(target), "--bind", "127.0.0.1:0", "--start", "0")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith("application Starlette failed to start: ValueError: no database")


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
