"""What one more idle worker, and one more idle connection, adds in memory."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.machine import Cores, pinned
from bench.processes import pss_bytes, rss_bytes, tree
from bench.servers import WORKER, Server, synopsis

SMALL, LARGE = 2, 22
CONNECTIONS = 10_000
WARM_UP = 200
SETTLE_S = 0.5


def measure_worker(cores: Cores) -> float:
    """Bytes of PSS that an idle worker of examples/synopsis.py adds: what 22 have more than 2, by 20."""
    sizes = []
    for workers in (SMALL, LARGE):
        with Server(synopsis(workers), cores.server) as server:
            _await_workers(server, workers)
            sizes.append(pss_bytes(server.pid))
    return (sizes[1] - sizes[0]) / (LARGE - SMALL)


def measure_connection(cores: Cores) -> float:
    """Bytes by which one worker grows for each of 10,000 connections that asked once and are idle now."""
    with Server(WORKER, cores.server) as server, pinned(cores.client), ExitStack() as stack:
        worker = list(tree(server.pid))[-1]
        with server.connect() as connection:
            for _ in range(WARM_UP):
                server.ask(connection)
        before = rss_bytes(worker)
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(server.connect())
            if not server.ask(connection).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection was not served")
        return (rss_bytes(worker) - before) / CONNECTIONS


def _await_workers(server: Server, workers: int) -> None:
    """Until all are forked and nobody's memory changes any more."""
    deadline = time.monotonic() + 5
    while sum(1 for _ in tree(server.pid)) <= workers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name}: not all of them are there")
        time.sleep(0.05)
    previous = 0
    while (now := pss_bytes(server.pid)) != previous:
        previous = now
        time.sleep(SETTLE_S)
