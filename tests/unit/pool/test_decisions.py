"""What is kept of the decisions of a pool: data and moments."""

from __future__ import annotations

import json

from prefork.pool.decisions import MOST, Decision, Decisions


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_newest_is_last_and_has_an_age() -> None:
    clock = Clock()
    decisions = Decisions(clock)
    assert decisions.describe() == []
    decisions.note(4, "1 spare of 5 missing")
    clock.now = 101.5
    decisions.follow([Decision(-1, "3 spares above the maximum of 10")], "")
    assert decisions.describe() == [
        {"age_s": 1.5, "change": 4, "why": "1 spare of 5 missing"},
        {"age_s": 0.0, "change": -1, "why": "3 spares above the maximum of 10"},
    ]


def test_only_the_last_ones_are_kept_and_a_reader_gets_them_in_one_piece() -> None:
    decisions = Decisions(Clock())
    for number in range(3 * MOST):
        decisions.note(1, f"{number} spares of 5 missing; one is tried at a time, because workers fail")
    kept = decisions.describe()
    assert len(kept) == MOST
    assert kept[-1]["why"].startswith(f"{3 * MOST - 1} spares")
    assert len(json.dumps(kept)) < 16 * 1024


def test_what_holds_the_pool_is_told_when_it_begins() -> None:
    clock = Clock()
    decisions = Decisions(clock)
    for held in ("full", "full", "", "full", "failing"):
        decisions.follow([], held)
        clock.now += 1.0
    assert [(made["age_s"], made["why"]) for made in decisions.describe()] == [
        (2.0, "full"),
        (1.0, "failing"),
    ]


def test_the_steps_of_a_reload_are_two_decisions_until_something_else_is_decided() -> None:
    clock = Clock()
    decisions = Decisions(clock)
    for left in (3, 2, 1):
        come = Decision(1, f"to replace {left} workers: generation 2", "to replace: generation 2")
        decisions.follow([come], "")
        clock.now += 1.0
        decisions.follow([Decision(-1, "replaced: generation 2", "replaced: generation 2")], "")
    assert [tuple(made.values()) for made in decisions.describe()] == [
        (1.0, 3, "to replace 3 workers: generation 2"),
        (0.0, -3, "replaced: generation 2"),
    ]
    decisions.note(1, "1 spare of 5 missing")
    decisions.follow([come], "")
    assert [made["change"] for made in decisions.describe()] == [3, -3, 1, 1]


def test_the_same_change_twice_is_two() -> None:
    decisions = Decisions(Clock())
    decisions.note(1, "1 spare of 5 missing")
    decisions.note(1, "1 spare of 5 missing")
    assert [made["change"] for made in decisions.describe()] == [1, 1]


def test_what_holds_the_pool_is_told_once_although_it_decides_more_meanwhile() -> None:
    decisions = Decisions(Clock())
    for _ in range(5):
        decisions.follow([Decision(-1, "recycled")], "full")
    assert [made["why"] for made in decisions.describe()].count("full") == 1
