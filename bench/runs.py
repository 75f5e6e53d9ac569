"""A run: the result of one load of one server. And the tables and figures of many runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.findings import Figure, Table
from bench.rounds import Rounds
from bench.servers import Recipe

BUSY = 0.95
"""A server that had its core for less of the time waited for the load, or for others on that core."""


@dataclass(frozen=True)
class Run:
    """Responses per second, CPU time of each, and the part of the time in which the server had its core.

    Well below 1, it waited for the load generator or for others on its core, and the responses per second are
    not all that it can do. The CPU time of one is not affected.
    """

    per_s: float
    cpu_us: float
    busy: float


def rate(run: Run) -> float:
    return run.per_s


def cpu(run: Run) -> float:
    return run.cpu_us


def compare(
    name: str,
    rounds: Rounds[Run],
    load: str,
    ours: Recipe,
    theirs: Recipe,
    value: Callable[[Run], float],
    target: tuple[str, float] | None = None,
) -> Figure:
    """A figure that is a ratio of two servers."""
    ratio = rounds.ratio(ours, theirs, load, value)
    return Figure(name, ratio, f"of {theirs.kind}", target, rounds.why(ours, theirs))


def table(
    title: str, rounds: Rounds[Run], load: str, recipes: Iterable[Recipe], reference: Recipe, unit: str
) -> Table:
    """Medians by server, and the medians of the ratios to the reference in each round."""

    def row(recipe: Recipe) -> tuple[str, ...]:
        per_s = rounds.median(recipe, load, rate)
        if per_s is None:
            return (recipe.name, "missing", "", "", "", "")
        busy = rounds.median(recipe, load, lambda run: run.busy) or 0.0
        return (
            recipe.name,
            f"{per_s:,.0f}{'' if busy >= BUSY else '*'}",
            _short(rounds.ratio(recipe, reference, load, rate)),
            _short(rounds.median(recipe, load, cpu)),
            _short(rounds.ratio(recipe, reference, load, cpu)),
            f"{busy:.0%}",
        )

    of = f"of {reference.kind}"
    columns = ("server", f"{unit}/s", of, f"CPU us/{unit.removesuffix('s')}", of, "core busy")
    rows = [row(recipe) for recipe in recipes]
    idle = any(f"{row[1]}".endswith("*") for row in rows)
    note = (
        f"* busy for less than {BUSY:.0%} of the time, so it could do more: compare the CPU" if idle else ""
    )
    return Table(title, columns, rows, note)


def details(rounds: Rounds[Run], loads: Iterable[str]) -> dict[str, object]:
    """Every run of every round, for the file."""
    runs = {
        load: {server: [dataclasses.asdict(run) for run in runs] for server, runs in rounds.of(load).items()}
        for load in loads
    }
    return {"runs": runs, "missing": rounds.missing}


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
