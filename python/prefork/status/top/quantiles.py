"""How long the requests of the last seconds took, from two histograms of all requests (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prefork.pool.scoreboard import TIMES, time_within

Buckets = Sequence[tuple[float, int]]
"""How many requests took less than so many seconds."""
Histograms = Mapping[str, Buckets]
"""By the names in TIMES."""
Three = tuple[float | None, float | None, float | None]


class Quantiles(NamedTuple):
    """Times within which half, 90 % and 99 % of the requests were done, by the names in TIMES; None without
    any request. `within_s` is of how many seconds; None: of all that the pool has had.
    """

    within_s: float | None
    times: Mapping[str, Three]


def since_ever(totals: Mapping[str, Any]) -> Quantiles:
    """Those of all requests, which the report has."""
    found = {name: totals[name] for name in TIMES}
    return Quantiles(None, {name: (one["p50_s"], one["p90_s"], one["p99_s"]) for name, one in found.items()})


class Window:
    """Quantiles of the requests of the last `intervals`, from histograms of all requests."""

    def __init__(self, intervals: int = 10) -> None:
        self._kept: deque[tuple[float, Histograms]] = deque(maxlen=intervals + 1)

    def add(self, histograms: Histograms, now: float) -> None:
        """Takes those of a report at `now`. Another pool begins anew."""
        if self._kept and any(_is_other(self._kept[-1][1][name], histograms[name]) for name in TIMES):
            self._kept.clear()
        self._kept.append((now, histograms))

    def quantiles(self) -> Quantiles | None:
        """None before the second report."""
        if len(self._kept) < 2:
            return None
        (begin_s, before), (end_s, after) = self._kept[0], self._kept[-1]
        return Quantiles(end_s - begin_s, {name: _quantiles(before[name], after[name]) for name in TIMES})


def _is_other(before: Buckets, after: Buckets) -> bool:
    """Whether these are no later figures of the same pool."""
    return [bound for bound, _ in before] != [bound for bound, _ in after] or before[-1][1] > after[-1][1]


def _quantiles(before: Buckets, after: Buckets) -> Three:
    came = [(bound, max(0, count - old)) for (bound, count), (_, old) in zip(after, before, strict=True)]
    return time_within(came, 0.5), time_within(came, 0.9), time_within(came, 0.99)
