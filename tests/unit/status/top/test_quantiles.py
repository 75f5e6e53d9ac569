"""Times of the requests of the last seconds, from histograms."""

from __future__ import annotations

import math

import pytest

from prefork.pool.scoreboard import TIMES
from prefork.status.top.quantiles import Histograms, Window, since_ever
from support.reports import report, times

NONE = (None, None, None)


def histograms(fast: int = 0, slow: int = 0, name: str = "wait") -> Histograms:
    """So many requests took less than 1 ms, and so many from 100 ms to 200 ms."""
    empty = [(0.001, 0), (0.1, 0), (0.2, 0), (math.inf, 0)]
    counted = [(0.001, fast), (0.1, fast), (0.2, fast + slow), (math.inf, fast + slow)]
    return {**dict.fromkeys(TIMES, empty), name: counted}


def test_before_the_second_report_there_are_none() -> None:
    window = Window()
    assert window.quantiles() is None
    window.add(histograms(), 1.0)
    assert window.quantiles() is None


def test_only_what_came_in_between_counts() -> None:
    window = Window()
    window.add(histograms(fast=10**6), 1.0)
    window.add(histograms(fast=10**6 + 20, slow=80), 3.0)
    found = window.quantiles()
    assert found is not None
    assert found.within_s == 2.0
    p50_s, p90_s, p99_s = found.times["wait"]
    assert p50_s is not None
    assert p90_s is not None
    assert p99_s is not None
    assert 0.1 < p50_s < p90_s < p99_s <= 0.2
    assert found.times["application"] == NONE


def test_the_window_moves_on() -> None:
    window = Window(3)
    for second in range(10):
        window.add(histograms(slow=min(second, 5) * 10), float(second))
    found = window.quantiles()
    assert found is not None
    assert (found.within_s, found.times["wait"]) == (3.0, NONE)


@pytest.mark.parametrize("other", [
    histograms(fast=1),
    {name: [(math.inf, 10**6)] for name in TIMES},
])  # fmt: skip
def test_another_pool_begins_anew(other: Histograms) -> None:
    window = Window()
    window.add(histograms(fast=100), 1.0)
    window.add(other, 2.0)
    assert window.quantiles() is None
    window.add(other, 3.0)
    found = window.quantiles()
    assert found is not None
    assert found.within_s == 1.0


def test_a_report_has_those_of_all_requests() -> None:
    found = since_ever(report(wait=times(0.1, 0.2, 0.3))["totals"])
    assert found.within_s is None
    assert (found.times["wait"], found.times["last_byte"]) == ((0.1, 0.2, 0.3), NONE)
