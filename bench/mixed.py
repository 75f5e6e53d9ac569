"""A common load: quick requests and a few slow ones, on workers that serve one at a time.

8 workers, 64 keep-alive connections, 400 requests a second that come when they come (a Poisson process); a
request takes 5 ms, and 5 of 100 take 100 ms. Half of the workers are busy on the average, so hardly a request
would have to wait: if it is not bound to a worker that happens to be busy.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.chart import Row, draw
from bench.findings import Figure, Findings, Setting, Table
from bench.machine import pinned
from bench.open_loop import Clients, Results, ScheduledRequest
from bench.processes import tree
from bench.recipes import (
    MIXED_GRANIAN,
    MIXED_GTHREAD,
    MIXED_PREFORK,
    MIXED_RECYCLED,
    MIXED_SYNC,
    MIXED_UWSGI,
)
from bench.rounds import Rounds, measure
from bench.servers import Recipe, Server

RECIPES = (MIXED_PREFORK, MIXED_RECYCLED, MIXED_UWSGI, MIXED_SYNC, MIXED_GRANIAN, MIXED_GTHREAD)
PER_S = 400
SLOW_SHARE = 0.05
WARM_UP_S = 1.0
"""Until all connections are open and each has sent a request."""
LOAD = "mixed load"
PICTURE = "docs/mixed-load.svg"


@dataclass(frozen=True)
class Mix:
    """Percentiles of the latency in one run, and what else describes it.

    `closed` are connections that the server closed, `replaced` its processes that were not there at first.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    requests: int
    failed: int
    closed: int
    replaced: int


def run(setting: Setting) -> Findings:
    rounds = measure_mixes(RECIPES, setting)
    return Findings(_figures(rounds), [table(rounds, RECIPES)], details(rounds), {PICTURE: _picture(rounds)})


def measure_mixes(recipes: Sequence[Recipe], setting: Setting) -> Rounds[Mix]:
    """Loads each of these servers so."""
    effort = setting.effort

    def load(server: Server, number: int) -> Mix:
        with pinned(setting.cores.client), Clients(server, seed=number) as clients:
            clients.send(schedule(WARM_UP_S, seed=-1))
            before = set(tree(server.pid))
            results = clients.send(schedule(effort.mixed_s, seed=number))
            return _summary(results, len(set(tree(server.pid)) - before))

    return measure(recipes, {LOAD: load}, effort.mixed_rounds, setting)


def details(rounds: Rounds[Mix]) -> dict[str, object]:
    """Every run, for the file."""
    return {
        "runs": {name: list(map(dataclasses.asdict, runs)) for name, runs in rounds.of(LOAD).items()},
        "missing": rounds.missing,
    }


def schedule(seconds: float, seed: int) -> list[ScheduledRequest]:
    """The same for every server in a round: when each request is due, and which of them take long."""
    chance = random.Random(seed)
    requests, due_s = [], 0.0
    while (due_s := due_s + chance.expovariate(PER_S)) < seconds:
        requests.append(ScheduledRequest(due_s, "/slow" if chance.random() < SLOW_SHARE else "/quick"))
    return requests


def _summary(results: Results, replaced: int) -> Mix:
    cuts = statistics.quantiles(results.latencies_s, n=100, method="inclusive")
    return Mix(
        p50_ms=cuts[49] * 1000,
        p90_ms=cuts[89] * 1000,
        p99_ms=cuts[98] * 1000,
        max_ms=max(results.latencies_s) * 1000,
        requests=len(results.latencies_s),
        failed=results.failed,
        closed=results.closed,
        replaced=replaced,
    )


PERCENTILES: dict[str, Callable[[Mix], float]] = {
    "p50": lambda mix: mix.p50_ms,
    "p90": lambda mix: mix.p90_ms,
    "p99": lambda mix: mix.p99_ms,
}
OTHERS: dict[str, Callable[[Mix], float]] = {
    "max": lambda mix: mix.max_ms,
    "failed": lambda mix: mix.failed,
    "closed by the server": lambda mix: mix.closed,
    "workers replaced": lambda mix: mix.replaced,
}


def _figures(rounds: Rounds[Mix]) -> list[Figure]:
    def line(recipe: Recipe, name: str, unit: str, target: tuple[str, float] | None) -> Figure:
        value = (PERCENTILES | OTHERS)[name]
        title = f"mixed load, {recipe.name}: {name}"
        return Figure(title, rounds.median(recipe, LOAD, value), unit, target, rounds.why(recipe))

    targets = {"p90": ("<=", 10.0), "p99": ("<=", 110.0)}
    figures = []
    for recipe in RECIPES:
        ours = recipe in (MIXED_PREFORK, MIXED_RECYCLED)
        figures += [line(recipe, name, "ms", target if ours else None) for name, target in targets.items()]
        if ours:
            figures.append(line(recipe, "closed by the server", "", ("<=", 0.0)))
            figures.append(line(recipe, "failed", "", ("<=", 0.0)))
    return figures


def table(rounds: Rounds[Mix], recipes: Sequence[Recipe]) -> Table:
    def row(recipe: Recipe) -> tuple[str, ...]:
        values = [rounds.median(recipe, LOAD, value) for value in (PERCENTILES | OTHERS).values()]
        if None in values:
            return (recipe.name, "missing", *[""] * (len(values) - 1))
        milliseconds, counts = values[:4], values[4:]
        return (
            recipe.name,
            *(f"{value:.1f}" for value in milliseconds),
            *(f"{value:.0f}" for value in counts),
        )

    columns = (
        "server",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "failed",
        "closed by the server",
        "workers replaced",
    )
    title = f"Mixed load: 8 workers of one request, {PER_S} requests/s, {SLOW_SHARE:.0%} of them take 100 ms"
    return Table(title, columns, [row(recipe) for recipe in recipes])


def _picture(rounds: Rounds[Mix]) -> str:
    rows = []
    for recipe in RECIPES:
        values = {name: rounds.median(recipe, LOAD, value) for name, value in PERCENTILES.items()}
        rows.append(Row(recipe.name, {name: value for name, value in values.items() if value is not None}))
    return draw(
        "How long a request takes, in milliseconds",
        f"8 workers of one request at a time, 64 keep-alive connections, {PER_S} requests/s; "
        f"most take 5 ms, {SLOW_SHARE:.0%} take 100 ms",
        [row for row in rows if row.values],
    )
