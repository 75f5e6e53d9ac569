"""How fast the pool grows, read from its scoreboard by another process, each millisecond.

A burst takes its workers at once; the clock runs from before the first connect. Workers count when the
scoreboard says so: "starting" is no spare.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from bench.findings import Figure, Findings, Setting
from bench.machine import Cores, pinned
from bench.servers import START_S, Recipe, Server, app, request
from prefork._engine import Scoreboard
from prefork.errors import ScoreboardUnavailable
from prefork.pool.policy import State
from prefork.pool.scoreboard import open_scoreboard

SPARES = 5
CROWD = 64
TIMEOUT_S = 1.9  # less than HOLD_S, for which a request is held
TICK_S = 0.001

HOLDS = {"blocking": "/blocking", "async": "/waiting"}

Reached = Callable[[Counter[int]], bool]


def run(setting: Setting) -> Findings:
    repeats, cores = setting.effort.pool_repeats, setting.cores
    setting.log("growth")
    refill = {kind: measure_refill(path, repeats, cores) for kind, path in HOLDS.items()}
    crowd = {kind: measure_crowd(path, repeats, cores) for kind, path in HOLDS.items()}
    figures = [
        Figure(f"pool: {SPARES} spares taken to {SPARES} spares again, {kind}", value, "ms", ("<=", 50.0))
        for kind, value in refill.items()
    ]
    figures += [
        Figure(f"pool: {SPARES} spares to {CROWD} busy workers, {kind}", value, "ms", ("<=", 500.0))
        for kind, value in crowd.items()
    ]
    return Findings(figures, details={"refill_ms": refill, "crowd_ms": crowd})


def measure_refill(path: str, repeats: int, cores: Cores) -> float | None:
    """Milliseconds from a request on each of 5 spares to 5 spares again; the median."""
    return _median([_burst(path, SPARES, _refilled, cores) for _ in range(repeats)])


def measure_crowd(path: str, repeats: int, cores: Cores) -> float | None:
    """Milliseconds from 64 requests at 5 spares to 64 busy workers; the median."""
    return _median([_burst(path, CROWD, _crowded, cores) for _ in range(repeats)])


def _refilled(states: Counter[int]) -> bool:
    return states[State.ACTIVE] >= SPARES and states[State.SPARE] >= SPARES


def _crowded(states: Counter[int]) -> bool:
    return states[State.ACTIVE] >= CROWD


def _burst(path: str, size: int, reached: Reached, cores: Cores) -> float | None:
    """Seconds until the pool is where it should be; None if it did not get there while it was watched."""
    glue = f"bench-{secrets.token_hex(4)}"
    recipe = Recipe("prefork, growing pool", app("pool", "done", "grow", glue), responds_at_start=False)
    with Server(recipe, cores.server) as server, ExitStack() as stack, pinned(cores.client):
        board = _open(glue)
        if board is None or _watch(board, lambda states: states[State.SPARE] == SPARES) is None:
            raise RuntimeError(f"no pool with {SPARES} spares came up; its output: {server.output_tail}")
        began = time.monotonic()
        for _ in range(size):
            connection = stack.enter_context(server.connect())
            connection.sendall(request(path))
        there = _watch(board, reached)
        return None if there is None else there - began


def _open(glue: str) -> Scoreboard | None:
    """The scoreboard, as soon as there is one."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ScoreboardUnavailable):
            return open_scoreboard(glue).board
        time.sleep(TICK_S)
    return None


def _watch(board: Scoreboard, reached: Reached) -> float | None:
    """When the states were first as wanted, on the monotonic clock."""
    deadline = time.monotonic() + TIMEOUT_S
    while (now := time.monotonic()) < deadline:
        if reached(Counter(board.states())):
            return now
        time.sleep(TICK_S)
    return None


def _median(seconds: list[float | None]) -> float | None:
    """In milliseconds; None if the pool did not get there even once, whatever the other times."""
    there = [value for value in seconds if value is not None]
    return statistics.median(there) * 1000 if len(there) == len(seconds) else None
