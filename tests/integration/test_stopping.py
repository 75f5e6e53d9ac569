"""Signals to more processes than the manager, and signals that nobody bound: see `docs/signals.md`."""

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
    server = PreForkServer(kernel, start_servers=2, min_spare_servers=1, max_spare_servers=2)

    @server.handle("^/")
    async def slow():
        await asyncio.sleep(0.3)
        return "whole"
"""

Begin = Callable[[], tuple[harness.Server, socket.socket, int]]


@pytest.fixture
def begin(serve: Serve) -> Begin:
    """`begin()` is a server in a process group of its own, a client, and the worker that has its request."""

    def start() -> tuple[harness.Server, socket.socket, int]:
        server = serve(APP, start_new_session=True)
        client = server.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return server, client, wait_until(lambda: busy(server), "the request in a worker")

    return start


def busy(server: harness.Server) -> int:
    return next((worker["pid"] for worker in server.status()["workers"] if worker["in_flight"]), 0)


def test_term_to_manager_and_workers_at_once_is_as_graceful_as_to_the_manager(begin: Begin) -> None:
    """What systemd does by default."""
    server, client, _ = begin()
    with client:
        os.killpg(server.pid, signal.SIGTERM)
        answer = read_all(client)
    assert answer.endswith(b"whole")
    assert b"Connection: close\r\n" in answer
    assert server.wait() == 0
    assert "cutting" not in server.log


def test_term_sent_again_to_a_worker_changes_nothing(begin: Begin) -> None:
    server, client, worker = begin()
    with client:
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: worker in server.workers("draining"), "the worker to drain")
        os.kill(worker, signal.SIGTERM)
        assert read_all(client).endswith(b"whole")
    wait_until(lambda: worker not in server.workers() and server.workers("spare"), "another worker")


def test_a_signal_that_nobody_bound_ends_manager_and_workers(begin: Begin) -> None:
    server, client, _ = begin()
    with client:
        server.signal(signal.SIGUSR1)
        assert read_all(client) == b""
    assert server.wait() == -signal.SIGUSR1
