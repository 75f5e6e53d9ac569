"""An application that handles TERM and INT itself: it is told, and the server ends as it does without."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from support.apps import APPS
from support.server import Server, running
from support.waiting import wait_until

APP = APPS / "own_signals.py"
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
POOLS = pytest.mark.parametrize("pool", [("--workers", "1"), ("--start", "0")], ids=["pool", "alone"])
HOWS = pytest.mark.parametrize("how", ["import", "lifespan", "loop"])


def serve_own(name: str, *options: str, **parameters: str) -> AbstractContextManager[Server]:
    arguments = (f"{APP}:{name}", "--bind", "127.0.0.1:0", "--graceful-timeout", "60")
    return running(*arguments, *options, parameters=parameters, start_new_session=True)


def stop_in_stream(
    server: Server, send: Callable[[int, int], None] = os.kill, signum: int = signal.SIGTERM
) -> bytes:
    """Sends the signal while a stream waits for it. Returns the body."""
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"begun" not in received:
            received += client.recv(1000)
        send(server.pid, signum)
        while piece := client.recv(1000):
            received += piece
    assert server.wait() == 0
    assert server.out.count("heard") == 1
    return received


@LOOPS
@POOLS
@HOWS
def test_a_handler_is_called_once_and_the_server_drains(how: str, pool: tuple[str, ...], loop: str) -> None:
    with serve_own("asgi", *pool, "--loop", loop, how=how) as server:
        assert stop_in_stream(server).endswith(b" ended\r\n0\r\n\r\n")
        assert "closing" not in server.log


@POOLS
def test_it_is_called_while_a_request_has_the_thread(pool: tuple[str, ...]) -> None:
    with serve_own("wsgi", *pool, how="import") as server:
        assert stop_in_stream(server).endswith(b" ended\r\n0\r\n\r\n")


@POOLS
@pytest.mark.parametrize("how", ["import", "lifespan"])
@pytest.mark.parametrize("then", ["exit", "chain", "former", "default"])
def test_what_it_does_to_end_the_process_waits_for_the_requests(
    then: str, how: str, pool: tuple[str, ...]
) -> None:
    with serve_own("asgi", *pool, how=how, then=then) as server:
        assert stop_in_stream(server).endswith(b" ended\r\n0\r\n\r\n")
        assert "again" not in server.log


@LOOPS
@POOLS
@HOWS
def test_ctrl_c_in_a_terminal_is_heard_once_and_its_exit_waits_too(
    how: str, pool: tuple[str, ...], loop: str
) -> None:
    with serve_own("asgi", *pool, "--loop", loop, how=how, then="exit") as server:
        assert stop_in_stream(server, os.killpg, signal.SIGINT).endswith(b" ended\r\n0\r\n\r\n")


@POOLS
def test_the_exit_of_a_loops_handler_waits_for_the_requests(pool: tuple[str, ...]) -> None:
    with serve_own("asgi", *pool, how="loop", then="exit") as server:
        assert stop_in_stream(server).endswith(b" ended\r\n0\r\n\r\n")


def test_its_exception_is_logged() -> None:
    with serve_own("asgi", "--workers", "1", how="import", then="fail") as server:
        assert stop_in_stream(server).endswith(b" ended\r\n0\r\n\r\n")
        assert "the application's handler of SIGTERM failed" in server.log
        assert "a fault of the handler" in server.log


@HOWS
def test_a_worker_that_is_replaced_hears_it_too(how: str) -> None:
    with serve_own("asgi", "--workers", "1", how=how) as server:
        (worker,) = server.workers("spare")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.workers("spare") not in ([], [worker]), "another worker")
        wait_until(lambda: server.out.count("heard") == 1, "the handler")
        assert server.stop() == 0
