"""What one more idle worker and one more idle connection add in memory, and what a pool of Django takes."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from bench.findings import Figure, Findings, Setting, Table
from bench.machine import Cores, pinned
from bench.processes import descriptors, private_bytes, process_of, pss_bytes, rss_bytes, tree
from bench.recipes import DJANGO_GUNICORN, DJANGO_PREFORK, DJANGO_WARM, WORKER, synopsis
from bench.servers import PATH, Recipe, Server, request

SMALL, LARGE = 2, 22
CONNECTIONS = 10_000
WARM_UP = 200
SETTLE_S = 0.3
STILL = 0.005
TIMEOUT_S = 5.0
KIB, MIB = 1024, 1024 * 1024
DJANGO_WORKERS = 8
WARM_RATIO = 0.35 if sys.version_info >= (3, 12) else 0.5
COLLECT = "collect"  # as bench/apps/django_hello.py has it: importing that would set up Django here
RESPONSES = 10
"""Each worker of Django sends at least so many before its memory is measured."""


def run(setting: Setting) -> Findings:
    setting.log("idle workers and connections")
    worker = measure_worker(setting.cores)
    connection = measure_connection(setting.cores)
    figures = [
        Figure("added PSS of an idle worker, synopsis", worker / MIB, "MiB", ("<=", 2.5)),
        Figure("memory of an idle connection, 10,000 held", connection / KIB, "KiB", ("<=", 2.0)),
    ]
    setting.log(f"{DJANGO_WORKERS} workers of Django")
    sizes: dict[str, tuple[int, int, int]] = {}
    missing: dict[str, str] = {}
    for recipe in (DJANGO_PREFORK, DJANGO_WARM, DJANGO_GUNICORN):
        try:
            sizes[recipe.name] = measure_django(recipe, setting.cores)
        except (RuntimeError, OSError) as error:
            missing[recipe.name] = " ".join(str(error).split())
    theirs = sizes.get(DJANGO_GUNICORN.name)
    ratios, warm = (_ratios(sizes.get(recipe.name), theirs) for recipe in (DJANGO_PREFORK, DJANGO_WARM))
    note = "; ".join(missing.values())
    unit = "of gunicorn --preload"
    figures += [
        Figure("PSS of 8 workers of a Django hello", ratios[0], unit, ("<=", 0.4), note),
        Figure("the same, when each worker has collected its garbage", ratios[1], unit, ("<=", 0.4), note),
        Figure("private memory of a Django worker, --warm", warm[2], unit, ("<=", WARM_RATIO), note),
    ]
    rows = [(name, *(f"{size / MIB:.1f}" for size in each)) for name, each in sizes.items()]
    columns = (
        "server",
        "PSS of all processes, MiB",
        "after a full collection in each",
        "private, each worker",
    )
    table = Table("Django hello, 8 workers, each has responded", columns, rows)
    details = {
        "worker_bytes": worker,
        "connection_bytes": connection,
        "django_bytes": sizes,
        "missing": missing,
    }
    return Findings(figures, [table], details)


def measure_worker(cores: Cores, pool: Callable[[int], Recipe] = synopsis) -> float:
    """Bytes of PSS that an idle worker of examples/synopsis.py adds: what 22 have more than 2, by 20."""
    sizes = []
    for workers in (SMALL, LARGE):
        with Server(pool(workers), cores.server) as server:
            sizes.append(_settled(server, workers))
    return (sizes[1] - sizes[0]) / (LARGE - SMALL)


def measure_connection(cores: Cores, one_worker: Recipe = WORKER) -> float:
    """Bytes by which one worker grows for each of 10,000 idle connections that have sent one request."""
    with Server(one_worker, cores.server) as server, pinned(cores.client), ExitStack() as stack:
        with server.connect() as connection:
            for _ in range(WARM_UP):
                server.get(connection)
            worker = process_of(server.pid, connection)
        before = rss_bytes(worker)
        for _ in range(CONNECTIONS):
            connection = server.connect()
            if not server.get(connection).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection was not served")
            # The state of TLS is left: the client needs it no more.
            stack.enter_context(socket.socket(fileno=connection.detach()))
        growth = rss_bytes(worker) - before
        if descriptors(worker) < CONNECTIONS:
            raise RuntimeError(
                f"the worker holds {descriptors(worker)} descriptors for {CONNECTIONS} clients"
            )
        return growth / CONNECTIONS


def _ratios(
    ours: tuple[int, int, int] | None, theirs: tuple[int, int, int] | None
) -> tuple[float | None, float | None, float | None]:
    if ours is None or theirs is None:
        return None, None, None
    return ours[0] / theirs[0], ours[1] / theirs[1], ours[2] / theirs[2]


def measure_django(recipe: Recipe, cores: Cores) -> tuple[int, int, int]:
    """Bytes of PSS of all processes, when each worker has responded a few times; and when each has collected
    its garbage, as a worker does some day: the collector writes to every object that it visits. Then the
    private bytes of a worker, on average.
    """
    with Server(recipe, cores.server) as server, pinned(cores.client):
        _reach_all(server, PATH, RESPONSES)
        after_responses = _settled(server, DJANGO_WORKERS)
        workers = _reach_all(server, f"/{COLLECT}", 1)
        after_collection = _settled(server, DJANGO_WORKERS)
        private = sum(map(private_bytes, workers)) // len(workers)
        return after_responses, after_collection, private


def _reach_all(server: Server, path: str, responses: int) -> list[int]:
    """Sends requests until each worker has responded so often. Returns the workers' pids."""
    seen: Counter[bytes] = Counter()
    deadline = time.monotonic() + TIMEOUT_S
    while len(seen) < DJANGO_WORKERS or min(seen.values()) < responses:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name}: not every worker responds: {sorted(seen.values())}")
        seen.update(_get_from_all(server, path))
    return [int(body.removeprefix(b"pid ")) for body in seen]


def _get_from_all(server: Server, path: str) -> list[bytes]:
    """Sends a request for each worker, all at the same time, over new connections. Returns the bodies."""
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(DJANGO_WORKERS)]
        for connection in connections:
            connection.sendall(request(path))
        return [_body(connection) for connection in connections]


def _body(connection: socket.socket) -> bytes:
    """The body of a response with a Content-Length, which may come in parts."""
    received = b""
    while part := connection.recv(4096):
        received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if length and len(body) >= int(length[1]):
            return body
    raise RuntimeError(f"no whole response: {received!r}")


def _settled(server: Server, workers: int) -> int:
    """PSS of all processes, once there are that many workers and it hardly changes any more.

    It never stands quite still: a library that others use too counts less as soon as one more of them starts.
    """
    deadline = time.monotonic() + TIMEOUT_S
    before: set[int] = set()
    previous = 0
    while time.monotonic() < deadline:
        now, processes = pss_bytes(server.pid), set(tree(server.pid))
        # Beside the workers and their manager there may be a process that only forks them.
        if len(processes) > workers and processes == before and abs(now - previous) < now * STILL:
            return now
        before, previous = processes, now
        time.sleep(SETTLE_S)
    raise RuntimeError(f"{server.name}: the pool does not come to rest")
