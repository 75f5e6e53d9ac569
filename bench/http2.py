"""HTTP/2: what a request costs more than in HTTP/1.1, and what it costs other servers; and the mixed load.

That is sent over 8 connections with 8 streams each.
"""

from __future__ import annotations

import statistics

from bench import mixed
from bench.findings import Figure, Findings, Setting, Table
from bench.load import HTTP2_CONNECTIONS, KEEP_ALIVE, STREAMS, by_h2load, by_wrk
from bench.recipes import (
    H2_GRANIAN,
    H2_MIXED,
    H2_NGINX,
    H2_PREFORK,
    H2C_GRANIAN,
    H2C_MIXED,
    H2C_MIXED_GRANIAN,
    H2C_NGINX,
    H2C_PREFORK,
    MIXED_PREFORK,
)
from bench.rounds import Load, Rounds, measure
from bench.runs import Run, compare, cpu, details, rate, table
from bench.servers import Recipe

WAYS = {
    "h2c": (H2C_NGINX, H2C_PREFORK, H2C_GRANIAN),
    "HTTP/2 over TLS": (H2_NGINX, H2_PREFORK, H2_GRANIAN),
}
LOAD = f"{HTTP2_CONNECTIONS} connections with {STREAMS} streams"
PIPELINED = f"HTTP/1.1, {HTTP2_CONNECTIONS} connections pipelined {STREAMS} deep"
MIXES = (MIXED_PREFORK, H2C_MIXED, H2_MIXED, H2C_MIXED_GRANIAN)
RATIO = 1.25


def run(setting: Setting) -> Findings:
    figures: list[Figure] = []
    tables: list[Table] = []
    found: dict[str, object] = {}
    costs = _measure_costs(setting)
    for name in (PIPELINED, KEEP_ALIVE.name):
        target = ("<=", 2.0) if name == PIPELINED else None
        note = costs.why(H2C_PREFORK)
        figures.append(
            Figure(f"h2c WSGI hello: CPU over that of {name}", _added_us(costs, name), "us", target, note)
        )
    found["costs"] = details(costs, (LOAD, PIPELINED, KEEP_ALIVE.name))
    for way, recipes in WAYS.items():
        setting.log(way)
        rounds = measure(recipes, {LOAD: _streams(setting)}, setting.effort.rounds, setting)
        figures += _beside(way, rounds, recipes)
        tables.append(table(f"WSGI hello, {way}, {LOAD}", rounds, LOAD, recipes, recipes[0], "requests"))
        found[way] = details(rounds, [LOAD])
    mixes = mixed.measure_mixes(MIXES, setting)
    for recipe in (H2C_MIXED, H2_MIXED):
        for name in ("p90", "p99"):
            ratio = mixes.ratio(recipe, MIXED_PREFORK, mixed.LOAD, mixed.PERCENTILES[name])
            why = mixes.why(recipe, MIXED_PREFORK)
            figures.append(
                Figure(f"mixed load, {recipe.name}: {name}", ratio, "of HTTP/1.1", ("<=", RATIO), why)
            )
    found["mixed"] = mixed.details(mixes)
    return Findings(figures, [*tables, mixed.table(mixes, MIXES)], found)


def _streams(setting: Setting) -> Load[Run]:
    return by_h2load(setting.effort.run_s, setting.cores.client)


def _measure_costs(setting: Setting) -> Rounds[Run]:
    """The same server by HTTP/2 and by HTTP/1.1."""
    run_s, core = setting.effort.run_s, setting.cores.client
    loads = {LOAD: _streams(setting), PIPELINED: by_h2load(run_s, core, http1=True)}
    loads |= by_wrk((KEEP_ALIVE,), run_s, core)
    return measure([H2C_PREFORK], loads, setting.effort.rounds, setting)


def _added_us(costs: Rounds[Run], name: str) -> float | None:
    """The median of the differences in each round."""
    ours, others = (costs.of(load).get(H2C_PREFORK.name) for load in (LOAD, name))
    if not ours or not others:
        return None
    return statistics.median(cpu(one) - cpu(other) for one, other in zip(ours, others, strict=True))


def _beside(way: str, rounds: Rounds[Run], recipes: tuple[Recipe, Recipe, Recipe]) -> list[Figure]:
    nginx, ours, granian = recipes
    return [
        compare(f"{way}: requests/s", rounds, LOAD, ours, nginx, rate, (">=", 1.3)),
        compare(f"{way}: requests/s", rounds, LOAD, ours, granian, rate, (">=", 2.0)),
        compare(f"{way}: CPU per request", rounds, LOAD, ours, nginx, cpu),
        compare(f"{way}: CPU per request", rounds, LOAD, ours, granian, cpu),
    ]
