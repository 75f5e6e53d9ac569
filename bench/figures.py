"""The figures that are to be reached, each beside what was measured."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from bench.load import CLOSE, KEEP_ALIVE, PIPELINED, Mode, Run
from bench.scoreboard import Cost
from bench.servers import DONE, NGINX, POSTED, UVICORN, WORKER, Recipe
from bench.throughput import Runs, ratio

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Measured:
    """All that was measured. None: the pool did not get there while it was watched."""

    runs: Runs
    scoreboard: Cost
    refill_ms: dict[str, float | None]
    crowd_ms: dict[str, float | None]
    worker_bytes: float
    connection_bytes: float


@dataclass(frozen=True)
class Figure:
    """One line of the table. `target` is a sign and a number; a figure without one is there to compare."""

    name: str
    value: float | None
    unit: str
    target: tuple[str, float] | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        if self.target is None:
            return None
        sign, limit = self.target
        compare: Callable[[float, float], bool] = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}[
            sign
        ]
        return self.value is not None and compare(self.value, limit)


def figures(measured: Measured) -> list[Figure]:
    """Every figure, in the order of the table."""
    return [
        *_against_nginx(measured.runs),
        *_others(measured.runs),
        *_scoreboard(measured.scoreboard),
        *_pool(measured),
        Figure("added PSS of an idle worker, synopsis", measured.worker_bytes / MIB, "MiB", ("<=", 2.5)),
        Figure(
            "memory of an idle connection, 10,000 held", measured.connection_bytes / KIB, "KiB", ("<=", 2.0)
        ),
    ]


def _rate(run: Run) -> float:
    return run.requests_per_s


def _cpu(run: Run) -> float:
    return run.cpu_us_per_request


def _against_nginx(runs: Runs) -> list[Figure]:
    """The two with a target, and what the synopsis's way by the queue and a worker's slot make of them."""
    lines = []
    for recipe, what in ((DONE, "done()"), (POSTED, 'post "DONE"'), (WORKER, "pool of one")):
        rate = ratio(runs, KEEP_ALIVE, recipe, NGINX, _rate)
        cpu = ratio(runs, KEEP_ALIVE, recipe, NGINX, _cpu)
        own = recipe is DONE
        lines += [
            Figure(f"keep-alive, {what}: requests/s", rate, "of nginx", (">=", 0.90) if own else None),
            Figure(f"keep-alive, {what}: CPU per request", cpu, "of nginx", ("<=", 1.15) if own else None),
        ]
    return lines


def _others(runs: Runs) -> list[Figure]:
    def line(mode: Mode, recipe: Recipe, who: str, of: Callable[[Run], float], what: str) -> Figure:
        return Figure(f"{mode.name}, {who}: {what}", ratio(runs, mode, recipe, NGINX, of), "of nginx")

    return [
        line(PIPELINED, DONE, "done()", _cpu, "CPU per request"),
        line(CLOSE, DONE, "done()", _cpu, "CPU per request"),
        line(KEEP_ALIVE, UVICORN, "uvicorn", _rate, "requests/s"),
        line(KEEP_ALIVE, UVICORN, "uvicorn", _cpu, "CPU per request"),
    ]


def _scoreboard(cost: Cost) -> list[Figure]:
    note = (
        f"± {cost.error_share * 100:.2f} %: {cost.ns:.0f} ± {cost.error_ns:.0f} ns of {cost.without_ns:.0f}"
    )
    return [Figure("scoreboard on the request path", cost.share * 100, "% CPU", ("<", 1.0), note)]


def _pool(measured: Measured) -> list[Figure]:
    return [
        *(
            Figure(f"pool: 5 spares taken to 5 spares again, {kind}", value, "ms", ("<=", 50.0))
            for kind, value in measured.refill_ms.items()
        ),
        *(
            Figure(f"pool: 5 spares to 64 busy workers, {kind}", value, "ms", ("<=", 500.0))
            for kind, value in measured.crowd_ms.items()
        ),
    ]
