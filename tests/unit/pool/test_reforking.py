"""When a worker is to become the next mold, simulated."""

from __future__ import annotations

from prefork.pool.reforking import FIRST_PAUSE_S, LONGEST_PAUSE_S, Schedule, candidate, failed, succeeded


def test_it_is_the_worker_that_has_served_most() -> None:
    assert candidate({1: 99, 2: 140, 3: 120}, Schedule(100), 0.0) == 2
    assert candidate({1: 99}, Schedule(100), 0.0) is None
    assert candidate({}, Schedule(100), 0.0) is None


def test_each_one_takes_twice_as_many_requests_as_the_one_before() -> None:
    schedule, counts = Schedule(1000), []
    for served in (1000, 2000, 7000, 14000):
        counts.append(schedule.requests)
        schedule = succeeded(schedule, served)
    assert counts == [1000, 2000, 4000, 14000]


def test_in_a_year_of_failures_there_are_few_attempts() -> None:
    schedule, now, attempts = Schedule(1), 0.0, []
    while now < 365 * 86400:
        if candidate({1: 1000}, schedule, now) is not None:
            attempts.append(now)
            schedule = failed(schedule, now)
        now = schedule.not_before
    assert attempts[1] == FIRST_PAUSE_S
    assert len(attempts) < 365 * 86400 / LONGEST_PAUSE_S + 12


def test_a_success_ends_the_pauses() -> None:
    schedule = failed(failed(Schedule(10), 0.0), 10.0)
    assert candidate({1: 10}, schedule, 29.0) is None
    assert candidate({1: 10}, schedule, 30.0) == 1
    assert succeeded(schedule, 10) == Schedule(20)
