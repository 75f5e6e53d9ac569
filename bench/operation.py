"""What clients notice while a server is reloaded, recycles its workers, or loses them; and how fast it acts.

The server has one core, and clients that check each response the other (bench/traffic.py). Each part of it is
bounded in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import select
import signal
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.findings import Figure, Findings, Setting, Table
from bench.machine import Cores, pinned
from bench.processes import children_cpu_s, clients_of, is_running, own_cpu_ns, tree
from bench.recipes import DJANGO, serve
from bench.servers import CERT, KEY, Recipe, Server, client_context, request
from bench.traffic import KEPT, ONE_SHOT, PIPELINE, STREAM, UPLOAD, Client, Tally, traffic
from prefork._engine import Scoreboard
from prefork.admin.client import ask, find_pool
from prefork.pool.policy import State
from prefork.pool.scoreboard import open_scoreboard

TARGETS = ("bench.apps.traffic:asgi", "bench.apps.traffic:wsgi")
TLS = f"--tls-cert {CERT} --tls-key {KEY}"
DEADLINE_S = 30.0
CALM_S = 0.2
"""Between two reloads or upgrades."""
EACH_S = 0.1
"""Between two kills."""
MIN_SPARE = 4
TICK_S = 0.001
WORKERS = 8
SPAWNS = 50
"""So that the process between the forks is told within 0.2 ms."""
QUESTIONS = 50
SHOWN = ("/healthz", "/")
"""Pages of the admin listener that are asked for."""


@dataclass
class Losses:
    """What one load of one server has come to."""

    name: str
    tally: Tally
    events: int

    @property
    def row(self) -> tuple[str, ...]:
        tally = self.tally
        counts = (tally.responses.total(), self.events, len(tally.failed), len(tally.closed))
        return (self.name, *(f"{count:,}" for count in counts))


@dataclass
class Kills:
    """Workers that were killed, the requests that they had, and how long it took to have spares again.

    `ports` are the clients' ends of their connections, of which `unknown` had just been opened. A client may
    begin a request on one before it hears of its end.
    """

    count: int = 0
    in_flight: int = 0
    ports: set[int] = field(default_factory=set)
    unknown: int = 0
    tally: Tally = field(default_factory=Tally)
    refilled_ms: list[float] = field(default_factory=list)

    @property
    def beyond(self) -> int:
        """How many requests failed on connections that no killed worker had."""
        elsewhere = sum(port not in self.ports for port in self.tally.failed_at)
        return max(0, elsewhere - self.unknown)


def run(setting: Setting) -> Findings:
    effort, cores = setting.effort, setting.cores
    servers = [(target, tls) for target in TARGETS for tls in (False, True)]
    setting.log("reloads")
    reloads = [measure_changes("reload", effort.reloads, target, cores, tls=tls) for target, tls in servers]
    setting.log("upgrades")
    upgrades = [
        measure_changes("upgrade", effort.upgrades, target, cores, tls=tls) for target, tls in servers
    ]
    setting.log("max_requests")
    recycled = [measure_recycling(target, effort.load_s / 2, cores, tls=tls) for target, tls in servers]
    setting.log("kills")
    kills = measure_kills(effort.load_s, cores)
    setting.log("spawns")
    cpu_ms, wall_ms = measure_spawns(cores)
    setting.log("control")
    responses_ms, shown = measure_stuck(cores)
    late = sum(ms > 100 for ms in kills.refilled_ms)
    figures = [
        *_lossless(f"{effort.reloads} reloads under load", reloads),
        *_lossless(f"{effort.upgrades} upgrades under load", upgrades),
        *_lossless("max_requests=20, pipelined", recycled),
        Figure(
            "kill -9 of a worker each 100 ms: failures on connections of other workers",
            kills.beyond,
            "",
            ("<=", 0),
            f"{kills.count} kills, {kills.in_flight} in flight, {len(kills.tally.failed)} failed",
        ),
        Figure(
            f"the same: {MIN_SPARE} spares again, the median",
            statistics.median(kills.refilled_ms),
            "ms",
            ("<=", 100),
            f"the longest {max(kills.refilled_ms):.0f} ms; {late} of {kills.count} took more than 100 ms",
        ),
        Figure("spawn of a Django worker from the mold, CPU", cpu_ms, "ms", ("<=", 5)),
        Figure("spawn of a Django worker from the mold, until it is a spare", wall_ms, "ms", ("<=", 15)),
        Figure(
            "the control socket responds while all workers are stuck",
            statistics.median(responses_ms),
            "ms",
            ("<", 10),
            f"the longest of {QUESTIONS}: {max(responses_ms):.1f} ms",
        ),
        *(
            Figure(
                f"{path} of the admin listener while all workers are {state}",
                statistics.median(took_ms),
                "ms",
                ("<", 10),
                f"the longest of {QUESTIONS}: {max(took_ms):.1f} ms, each on a connection of its own",
            )
            for (path, state), took_ms in shown.items()
        ),
    ]
    columns = ("server", "responses", "changes", "failed", "closed")
    loads = (*reloads, *upgrades, *recycled)
    table = Table("Clients during reloads, upgrades and recycling", columns, [one.row for one in loads])
    details = {
        "failed": [one.tally.failed for one in loads],
        "closed": [one.tally.closed for one in loads],
        "kills": {"failed": kills.tally.failed, "refilled_ms": kills.refilled_ms},
        "control_ms": responses_ms,
        "admin_ms": {f"{path} {state}": took_ms for (path, state), took_ms in shown.items()},
    }
    return Findings(figures, [table], details)


def _lossless(name: str, found: Sequence[Losses]) -> list[Figure]:
    failed = sum(len(one.tally.failed) for one in found)
    closed = sum(len(one.tally.closed) for one in found)
    why = [line for one in found for line in (*one.tally.failed, *one.tally.closed)]
    total = sum(one.tally.responses.total() for one in found)
    note = why[0] if why else f"of {total:,}"
    return [
        Figure(f"{name}: requests that failed", failed, "", ("<=", 0), note),
        Figure(f"{name}: connections that the server closed", closed, "", ("<=", 0)),
    ]


# --- a pool and its load ---------------------------------------------------------------------------------


class Pool:
    """A server with a pool that can be told what to do."""

    def __init__(self, server: Server, glue: str) -> None:
        self.server = server
        self._glue = glue
        self.board: Scoreboard = open_scoreboard(glue).board

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Has its manager, whichever that is now, do something, and waits until that is done."""
        return ask(find_pool(self._glue), name, arguments, timeout_s=DEADLINE_S, progressed=lambda _: None)

    @property
    def workers(self) -> dict[int, int]:
        """The slots of the workers, by pid."""
        found = ((index, self.board.read(index)) for index in range(self.board.capacity))
        return {record["pid"]: index for index, record in found if record is not None and record["pid"]}

    def holds(self, slot: int, pid: int) -> bool:
        """Whether a worker is in its slot. One that was killed is until its manager has waited for it."""
        record = self.board.read(slot)
        return record is not None and record["pid"] == pid

    @property
    def ready(self) -> list[int]:
        """The workers that are spare or active."""
        states = self.board.states()
        return [pid for pid, index in self.workers.items() if states[index] in (State.SPARE, State.ACTIVE)]

    @property
    def spares(self) -> int:
        return Counter(self.board.states())[State.SPARE]

    def wait_spares(self, count: int, limit_s: float = DEADLINE_S) -> float:
        """How many seconds it takes until there are so many."""
        began = time.monotonic()
        while self.spares < count and time.monotonic() - began < limit_s:
            time.sleep(TICK_S)
        return time.monotonic() - began


@contextlib.contextmanager
def pool_of(target: str, options: str, cores: Cores, *, tls: bool = False) -> Iterator[Pool]:
    glue = f"bench-{secrets.token_hex(4)}"
    command = serve(target, f"--glue {glue} {options} {TLS if tls else ''}")
    with Server(Recipe(target, command, tls=tls), cores.server) as server, pinned(cores.client):
        yield Pool(server, glue)


def losses(pool: Pool, kinds: dict[str, int], do: Callable[[], Awaitable[int]], *, tls: bool) -> Losses:
    """What clients notice while `do` runs. It returns how often it has done what it does."""

    async def load() -> Losses:
        tally, context = Tally(), client_context() if tls else None
        clients = [
            Client(kind, pool.server.port, tally, context)
            for kind, count in kinds.items()
            for _ in range(count)
        ]
        async with traffic(clients):
            events = await do()
        name = f"{pool.server.name.partition(':')[2].upper()}{', TLS 1.3' if tls else ''}"
        return Losses(name, tally, events)

    return asyncio.run(load())


# --- the measurements ------------------------------------------------------------------------------------


def measure_changes(name: str, count: int, target: str, cores: Cores, *, tls: bool) -> Losses:
    """One reload or upgrade after the other, each when the one before is done."""
    with pool_of(target, f"--workers {WORKERS}", cores, tls=tls) as pool:

        async def change() -> int:
            for _ in range(count):
                await asyncio.sleep(CALM_S)
                response = await asyncio.to_thread(pool.command, name)
                if not response["ok"]:
                    raise RuntimeError(f"{name} failed: {response}")
            return count

        return losses(pool, {KEPT: 8, ONE_SHOT: 4, UPLOAD: 4, STREAM: 4}, change, tls=tls)


def measure_recycling(target: str, seconds: float, cores: Cores, *, tls: bool) -> Losses:
    """Workers that are replaced after each 20 requests."""
    with pool_of(target, f"--workers {WORKERS} --max-requests 20", cores, tls=tls) as pool:
        before = set(pool.workers)
        replaced: set[int] = set()

        async def wait() -> int:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(EACH_S)
                replaced.update(pool.workers)
            return len(replaced - before)

        return losses(pool, {PIPELINE: 8, KEPT: 4}, wait, tls=tls)


def measure_kills(seconds: float, cores: Cores) -> Kills:
    """A random worker is killed each 100 ms. Requests of 20 ms keep half of the least pool busy."""
    kills, killed, chance = Kills(), set[int](), random.Random(1)
    options = f"--min-spare {MIN_SPARE} --max-spare {WORKERS} --max-clients {2 * WORKERS} --start {WORKERS}"
    with pool_of("bench.apps.traffic:wsgi", options, cores) as pool:
        clients = [Client(KEPT, pool.server.port, kills.tally) for _ in range(2 * WORKERS)]

        async def kill_some() -> None:
            async with traffic(clients, "wait", idle_s=0.06):
                await asyncio.sleep(CALM_S)
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    victim = chance.choice(pool.ready)
                    killed.add(victim)
                    slot = pool.workers[victim]
                    began = kill(pool, victim, clients, kills)
                    while time.monotonic() - began < DEADLINE_S:
                        await asyncio.sleep(TICK_S)
                        if not pool.holds(slot, victim) and pool.spares >= MIN_SPARE:
                            break
                    kills.refilled_ms.append((time.monotonic() - began) * 1000)
                    await asyncio.sleep(max(0.0, began + EACH_S - time.monotonic()))

        asyncio.run(kill_some())
    kills.count = len(killed)
    return kills


def kill(pool: Pool, pid: int, clients: Sequence[Client], kills: Kills) -> float:
    """Kills a worker, and counts what it had. Returns when that was.

    The clients stand still meanwhile, and so does the worker while it is looked at: the number is exact.
    """
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        while is_running(pid):
            pass
        ports = clients_of(pid, pool.server.port)
        killed = time.monotonic()
        end(pidfd)
    finally:
        os.close(pidfd)
    unknown = len(ports - {client.local_port for client in clients})
    kills.ports |= ports
    kills.unknown += unknown
    kills.in_flight += unknown + sum(client.under_way for client in clients if client.local_port in ports)
    return killed


def end(pidfd: int) -> None:
    """Kills a process, and returns when it is gone: its manager can know then."""
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [], DEADLINE_S)


def measure_spawns(cores: Cores) -> tuple[float, float]:
    """Milliseconds of CPU, and from the end of a worker of Django until another one is spare: the medians.

    The CPU is that of the mold and of the worker; that of the process between them is told in steps of 10 ms,
    so it is the mean.
    """
    cpu_ms, wall_ms = [], []
    with pool_of(DJANGO, f"--workers {WORKERS} --warm /hello", cores) as pool:
        pool.wait_spares(WORKERS)
        mold = _mold(pool)
        between_s = children_cpu_s(mold)
        for _ in range(SPAWNS):
            before, workers = own_cpu_ns(mold), set(pool.workers)
            pidfd = os.pidfd_open(min(workers))
            end(pidfd)
            began = time.monotonic()
            while not (new := set(pool.workers) - workers) and time.monotonic() - began < DEADLINE_S:
                pass
            pool.wait_spares(WORKERS)
            wall_ms.append((time.monotonic() - began) * 1000)
            cpu_ms.append((own_cpu_ns(mold) - before + sum(map(own_cpu_ns, new))) / 1e6)
            os.close(pidfd)
            time.sleep(CALM_S)  # so that the policy takes it for no crash loop
        between_ms = (children_cpu_s(mold) - between_s) * 1000 / SPAWNS
    return statistics.median(cpu_ms) + between_ms, statistics.median(wall_ms)


def _mold(pool: Pool) -> int:
    (mold,) = set(tree(pool.server.pid)) - {pool.server.pid, *pool.workers}
    return mold


def measure_stuck(cores: Cores) -> tuple[list[float], dict[tuple[str, str], list[float]]]:
    """Milliseconds until `explain` has its response while each worker hangs in a request; and until pages of
    the admin listener have theirs, by page and by what the workers are: stuck, or stopped as well.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        pool_of("bench.apps.traffic:wsgi", f"--workers 4 --admin unix:{directory}/admin.sock", cores) as pool,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(4):
            stack.enter_context(pool.server.connect()).sendall(request("/stuck/1"))
        deadline = time.monotonic() + DEADLINE_S
        while pool.spares and time.monotonic() < deadline:
            time.sleep(TICK_S)

        def pages(state: str) -> dict[tuple[str, str], list[float]]:
            place = f"{directory}/admin.sock"
            return {(path, state): _timed(partial(_is_shown, place, path)) for path in SHOWN}

        commands_ms = _timed(lambda: bool(pool.command("explain")["ok"]))
        shown = pages("stuck")
        workers = list(pool.workers)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            return commands_ms, shown | pages("stopped (SIGSTOP)")
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)


def _is_shown(place: str, path: str) -> bool:
    """Whether a page of the admin listener comes, all of it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(place)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        response = b""
        while piece := sock.recv(65536):
            response += piece
    return response.startswith(b"HTTP/1.1 200 ")


def _timed(ask: Callable[[], bool]) -> list[float]:
    """Milliseconds until each of QUESTIONS is responded to. Raises RuntimeError if one is not."""
    took_ms = []
    for _ in range(QUESTIONS):
        began = time.monotonic()
        if not ask():
            raise RuntimeError("no response")
        took_ms.append((time.monotonic() - began) * 1000)
    return took_ms
