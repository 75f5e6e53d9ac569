"""What a part of the bench takes, and what it returns: figures with their targets, and tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.machine import Cores


@dataclass(frozen=True)
class Effort:
    """How often and how long everything is measured."""

    rounds: int
    run_s: int
    mixed_rounds: int
    mixed_s: float
    starts: int
    windows: int
    pool_repeats: int
    reloads: int
    upgrades: int
    load_s: float


@dataclass(frozen=True)
class Setting:
    """What every part takes."""

    effort: Effort
    cores: Cores
    log: Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One line of the table. `target` is a sign and a number; a figure without one is there to compare.

    A value of None is missing; the note says why.
    """

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


@dataclass(frozen=True)
class Table:
    """Medians by server. The first column of a row is the server's name."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """The results of one part. `details` is all of it, for the file; `pictures` are files of their own."""

    figures: list[Figure]
    tables: list[Table] = field(default_factory=list)
    details: object = None
    pictures: dict[str, str] = field(default_factory=dict)
