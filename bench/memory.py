"""What one more idle worker, and one more idle connection, adds in memory."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.machine import Cores, pinned
from bench.processes import descriptors, pss_bytes, rss_bytes, tree
from bench.servers import WORKER, Server, synopsis

SMALL, LARGE = 2, 22
CONNECTIONS = 10_000
WARM_UP = 200
SETTLE_S = 0.3
STILL = 0.005
PATIENCE_S = 5.0


def measure_worker(cores: Cores) -> float:
    """Bytes of PSS that an idle worker of examples/synopsis.py adds: what 22 have more than 2, by 20."""
    sizes = []
    for workers in (SMALL, LARGE):
        with Server(synopsis(workers), cores.server) as server:
            sizes.append(_settled(server, workers))
    return (sizes[1] - sizes[0]) / (LARGE - SMALL)


def measure_connection(cores: Cores) -> float:
    """Bytes by which one worker grows for each of 10,000 connections that asked once and are idle now."""
    with Server(WORKER, cores.server) as server, pinned(cores.client), ExitStack() as stack:
        _, worker = tree(server.pid)
        with server.connect() as connection:
            for _ in range(WARM_UP):
                server.ask(connection)
        before = rss_bytes(worker)
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(server.connect())
            if not server.ask(connection).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection was not served")
        growth = rss_bytes(worker) - before
        if descriptors(worker) < CONNECTIONS:
            raise RuntimeError(
                f"the worker holds {descriptors(worker)} descriptors for {CONNECTIONS} clients"
            )
        return growth / CONNECTIONS


def _settled(server: Server, workers: int) -> int:
    """PSS of the manager and all its workers, once it hardly changes any more.

    It never stands quite still: a library that others use too counts less as soon as one more of them starts.
    """
    deadline = time.monotonic() + PATIENCE_S
    previous = 0
    while time.monotonic() < deadline:
        now = pss_bytes(server.pid)
        complete = sum(1 for _ in tree(server.pid)) == workers + 1
        if complete and abs(now - previous) < now * STILL:
            return now
        previous = now
        time.sleep(SETTLE_S)
    raise RuntimeError(f"{server.name}: the pool does not come to rest")
