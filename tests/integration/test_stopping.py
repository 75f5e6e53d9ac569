"""What each process does when it is signalled: `docs/signals.md`, row by row."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

import harness
from conftest import Serve
from harness import read_all, wait_until

APP = """
    import asyncio
    from understudy import Kernel, PreForkServer

    kernel = Kernel()
    server = PreForkServer(kernel, start_servers={start}, min_spare_servers=1, max_spare_servers=2,
                           graceful_timeout=5)

    @server.handle("^/slow")
    async def slow():
        await asyncio.sleep(0.3)
        return "whole"

    @server.handle("^/for-ever")
    async def for_ever():
        await asyncio.sleep(3600)

    @server.handle("^/")
    def quick():
        return "quick"
"""

POOL, ALONE = APP.format(start=2), APP.format(start=0)

Begin = Callable[[str, str], tuple[harness.Server, socket.socket]]


@pytest.fixture
def begin(serve: Serve) -> Begin:
    """`begin(app, path)` is a server in a process group of its own, and a client that waits for that path."""

    def start(app: str, path: str) -> tuple[harness.Server, socket.socket]:
        server = serve(app, start_new_session=True)
        client = server.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        if server.glue:
            wait_until(lambda: busy(server), "the request in a worker")
        else:
            server.get("/")  # behind ours
        return server, client

    return start


def busy(server: harness.Server) -> int | None:
    """The worker that has a request."""
    return next((worker["pid"] for worker in server.status()["workers"] if worker["in_flight"]), None)


@pytest.mark.parametrize("app", [POOL, ALONE], ids=["pool", "alone"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to", ["process", "group"])
def test_term_and_int_end_it_when_all_is_answered(begin: Begin, app: str, signum: int, to: str) -> None:
    server, client = begin(app, "/slow")
    with client:
        (os.killpg if to == "group" else os.kill)(server.pid, signum)
        answer = read_all(client)
    assert answer.endswith(b"whole")
    assert b"Connection: close\r\n" in answer
    assert server.wait() == 0
    assert "cutting" not in server.log


@pytest.mark.parametrize("app", [POOL, ALONE], ids=["pool", "alone"])
def test_a_second_one_ends_it_at_once(begin: Begin, app: str) -> None:
    server, client = begin(app, "/for-ever")
    with client:
        server.signal(signal.SIGTERM)
        server.wait_log("stopping when all requests are answered")
        assert server.process.poll() is None
        server.signal(signal.SIGINT)
        assert read_all(client) == b""
    assert server.wait(3) == 0


def test_term_to_one_worker_lets_it_finish_and_go_and_another_takes_its_place(begin: Begin) -> None:
    server, client = begin(POOL, "/slow")
    pid = busy(server)
    assert pid
    with client:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        assert read_all(client).endswith(b"whole")
    wait_until(lambda: pid not in server.workers() and server.workers("spare"), "another worker")
    assert server.get("/") == b"quick"


def test_int_is_nothing_to_a_worker(begin: Begin) -> None:
    server, client = begin(POOL, "/slow")
    pid = busy(server)
    assert pid
    with client:
        os.kill(pid, signal.SIGINT)
        assert client.recv(65536).endswith(b"whole")
    assert pid in server.workers()


def test_a_signal_that_nobody_bound_ends_manager_and_workers(begin: Begin) -> None:
    server, client = begin(POOL, "/for-ever")
    with client:
        server.signal(signal.SIGHUP)
        assert read_all(client) == b""
    assert server.wait() == -signal.SIGHUP
