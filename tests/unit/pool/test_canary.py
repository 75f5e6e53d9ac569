"""The canary: each figure that ends it, and simulated services whose new code is as good, worse or slower."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefork._engine import Scoreboard, time_bounds
from prefork.pool.canary import (
    FIRST_REQUESTS,
    LONGEST_WINDOWS,
    Canary,
    CanaryLimits,
    Decision,
    Figures,
    Reading,
    Verdict,
    judge,
    readings,
    time_at,
)
from prefork.pool.policy import Slot, State

WAIT, GO_ON, ROLL_BACK = Decision.WAIT, Decision.GO_ON, Decision.ROLL_BACK
BOUNDS = time_bounds()
LIMITS = CanaryLimits(window=60.0, most_errors=0.01, most_slowdown=0.5)


def times(*groups: tuple[int, float]) -> list[int]:
    """`(3, 0.01)` is three responses of 10 ms."""
    counts = [0] * len(BOUNDS)
    for count, seconds in groups:
        counts[max(0, bisect_right(BOUNDS, seconds) - 1)] += count
    return counts


def served(responses: int, errors: int = 0, seconds: float = 0.01, crashes: int = 0) -> Figures:
    return Figures(4, responses, errors, crashes, times((responses, seconds)))


def judged(old: Figures, new: Figures, after: float = 60.0) -> Verdict:
    return judge(old, new, LIMITS, BOUNDS, 1000.0, 1000.0 + after)


# --- the figures --------------------------------------------------------------------------------------------


def test_the_same_figures_go_on_when_the_window_is_over() -> None:
    assert judged(served(9000), served(1000), after=59.9).decision is WAIT
    verdict = judged(served(9000), served(1000))
    assert verdict.decision is GO_ON
    expected = "5xx 0 % (0 %), p50 9.44 ms (9.44 ms), p90 10.3 ms (10.3 ms)"
    assert verdict.why == f"new workers serve as the old ones (in brackets): {expected}"


def test_a_canary_with_too_few_requests_waits_and_then_goes_on_and_says_so() -> None:
    for old, new in ((served(9000), served(99)), (served(99), served(9000)), (served(0), served(0))):
        assert judged(old, new, after=60.0 * LONGEST_WINDOWS - 1).decision is WAIT
        verdict = judged(old, new, after=60.0 * LONGEST_WINDOWS)
        assert verdict.decision is GO_ON
        assert verdict.why.startswith("there were too few requests to compare: ")


def test_the_wait_says_how_far_it_is() -> None:
    assert judged(served(900), served(100), after=12.0).why == (
        "12 s of 60 s, 100 responses of new workers and 900 of old ones"
    )


def test_a_burst_of_errors_rolls_back_at_once() -> None:
    verdict = judged(served(180), served(20, errors=5), after=2.0)
    assert verdict.decision is ROLL_BACK
    assert verdict.why == (
        "25 % of 20 responses have status 5xx, of the old workers' 180 0 % (--canary-max-errors 1 %)"
    )
    assert judged(served(180), served(4, errors=4), after=2.0).decision is WAIT


def test_errors_of_old_code_alike_are_no_reason() -> None:
    assert judged(served(180, errors=180), served(20, errors=20), after=2.0).decision is WAIT
    assert judged(served(9000, errors=4500), served(1000, errors=505)).decision is GO_ON


def test_a_few_more_errors_roll_back_at_the_end_of_the_window() -> None:
    old, new = served(900, errors=3), served(300, errors=8)
    assert judged(old, new, after=30.0).decision is WAIT
    assert judged(old, new).decision is ROLL_BACK


def test_more_errors_within_the_limit_go_on() -> None:
    assert judged(served(90_000), served(10_000, errors=90)).decision is GO_ON


def test_without_an_old_worker_that_serves_errors_still_roll_back() -> None:
    assert judged(served(0), served(100, errors=50), after=5.0).decision is ROLL_BACK


def test_slower_code_rolls_back_and_the_line_says_which_figure() -> None:
    verdict = judged(served(9000, seconds=0.010), served(1000, seconds=0.020))
    assert verdict.decision is ROLL_BACK
    assert verdict.why.startswith("p50 of the response time is 1")
    assert verdict.why.endswith("ms (--canary-max-slowdown 50 %)")
    assert judged(served(9000, seconds=0.010), served(1000, seconds=0.013)).decision is GO_ON


def test_a_slow_tail_is_seen_beside_a_quick_median() -> None:
    old = replace(served(9000), times=times((8500, 0.01), (500, 0.1)))
    new = replace(served(1000), times=times((800, 0.01), (200, 0.1)))
    verdict = judged(old, new)
    assert verdict.decision is ROLL_BACK
    assert verdict.why.startswith("p90 of the response time is 9")


def test_a_slow_tail_that_a_sample_may_have_by_chance_is_no_reason() -> None:
    old = replace(served(9000), times=times((8150, 0.01), (850, 0.1)))
    new = replace(served(200), times=times((178, 0.01), (22, 0.1)))
    assert judged(old, new).decision is GO_ON


def test_a_fraction_of_a_millisecond_is_no_reason() -> None:
    assert judged(served(9000, seconds=0.0001), served(1000, seconds=0.001)).decision is GO_ON


def test_new_workers_that_crash_roll_back_at_once() -> None:
    verdict = judged(served(900), served(50, crashes=2), after=3.0)
    assert verdict.decision is ROLL_BACK
    assert verdict.why == "2 new workers crashed, of the old ones 0"
    assert judged(served(900), served(50, crashes=1), after=3.0).decision is WAIT
    assert judged(served(900, crashes=2), served(50, crashes=2), after=3.0).decision is WAIT


def test_a_quantile_is_interpolated_in_its_bucket() -> None:
    bounds, counts = (1.0, 2.0, 4.0), (10, 0, 10)
    assert [time_at(counts, bounds, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1, 1.5, 2, 6, 8]
    assert time_at((0, 0, 0), bounds, 0.5) == 0.0


@settings(max_examples=300)
@given(
    old=st.lists(st.integers(0, 2**64), min_size=4, max_size=4),
    new=st.lists(st.integers(0, 2**64), min_size=4, max_size=4),
    after=st.floats(0, 1e6),
)
def test_no_figure_is_an_error(old: list[int], new: list[int], after: float) -> None:
    def figures(numbers: list[int]) -> Figures:
        responses, errors, crashes, timed = numbers
        return Figures(1, responses, min(errors, responses), crashes, times((timed, 0.01)))

    assert judged(figures(old), figures(new), after).why


# --- the window ---------------------------------------------------------------------------------------------


def reading(index: int, generation: int, responses: int, errors: int = 0, **more: float) -> Reading:
    counts = times((responses, more.get("seconds", 0.01)))
    return Reading(index, generation, more.get("since", 0.0), responses, errors, counts)


def test_what_old_workers_did_before_the_window_does_not_count() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    canary.observe([reading(0, 1, 5000, errors=5000), reading(1, 2, 10, since=999.0)], 1000.0)
    canary.observe([reading(0, 1, 5100, errors=5000), reading(1, 2, 60, since=999.0)], 1010.0)
    assert (canary.figures(new=False).responses, canary.figures(new=False).errors) == (100, 0)
    assert canary.figures(new=False).timed == 100
    assert canary.figures(new=True).responses == 60


def test_the_first_requests_of_a_worker_have_no_time_and_are_counted() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    for responses in (0, FIRST_REQUESTS - 1, FIRST_REQUESTS + 5, 100):
        canary.observe([reading(0, 2, responses, since=1001.0), reading(1, 1, responses, since=1001.0)], 1001)
    for new in (True, False):  # an old one that was spawned in the window is as cold
        assert canary.figures(new=new).responses == 100
        assert canary.figures(new=new).timed == 100 - FIRST_REQUESTS - 5


def test_what_a_worker_did_stays_when_it_has_ended_and_its_slot_has_another() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    canary.observe([reading(0, 2, 40, errors=2, since=1000.5)], 1002.0)
    canary.observe([], 1003.0)
    canary.observe([reading(0, 1, 7, since=1003.5)], 1004.0)
    assert (canary.figures(new=True).responses, canary.figures(new=True).errors) == (40, 2)
    assert (canary.figures(new=False).responses, canary.figures(new=False).workers) == (7, 1)


def test_a_worker_that_sets_its_counts_back_has_done_nothing() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    canary.observe([reading(0, 1, 500)], 1000.0)
    canary.observe([reading(0, 1, 100, errors=900)], 1001.0)
    figures = canary.figures(new=False)
    assert (figures.responses, figures.errors, figures.timed) == (0, 0, 0)


def test_a_new_worker_that_fails_to_start_rolls_back_at_once() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    canary.boot_failed(1, "no memory")
    assert canary.observe([], 1001.0).decision is WAIT
    canary.boot_failed(2, "ImportError: no module named 'shop'")
    canary.boot_failed(2, "another")
    assert canary.observe([], 1002.0) == Verdict(
        ROLL_BACK, "a new worker failed to start: ImportError: no module named 'shop'"
    )


def test_crashes_of_both_generations_are_counted() -> None:
    canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
    canary.crashed(2)
    assert canary.observe([], 1001.0).decision is WAIT
    canary.crashed(2)
    assert canary.observe([], 1002.0).decision is ROLL_BACK
    canary.crashed(1)
    assert canary.observe([], 1002.0).decision is WAIT


def test_readings_have_what_the_table_says_of_a_worker_and_the_rest_from_the_board() -> None:
    with closing(Scoreboard.create(3)) as board:
        board.claim(1, 9)
        slots = [Slot(0, State.STARTING, 2, 5.0), Slot(1, State.SPARE, 2, 6.0), Slot(7, State.SPARE, 2, 7.0)]
        assert readings(board, slots) == [Reading(1, 2, 6.0, 0, 0, (0,) * len(BOUNDS))]


# --- services -----------------------------------------------------------------------------------------------


class Service:
    """Nine old workers and a new one, with requests that take as long, and fail as often, as is said."""

    def __init__(self, seed: int, per_second: int) -> None:
        self.random = random.Random(seed)
        self.per_second = per_second
        self.readings = {index: reading(index, 1, 50) for index in range(9)}
        self.readings[9] = reading(9, 2, 0, since=1000.0)

    def run(self, old: Callable[[random.Random], float], new: Callable[[random.Random], float]) -> Verdict:
        """A function of a request returns its time in seconds, negative for a response of 5xx."""
        canary = Canary(2, LIMITS, BOUNDS, began=1000.0)
        verdict = canary.observe(self.readings.values(), 1000.0)
        second = 0
        while verdict.decision is WAIT:
            second += 1
            for _ in range(self.per_second):
                self.serve(self.random.randrange(10), old, new)
            verdict = canary.observe(self.readings.values(), 1000.0 + second)
        self.seconds = second
        return verdict

    def serve(
        self, index: int, old: Callable[[random.Random], float], new: Callable[[random.Random], float]
    ) -> None:
        before = self.readings[index]
        took_s = (new if index == 9 else old)(self.random)
        counts = [a + b for a, b in zip(before.times, times((1, abs(took_s))), strict=True)]
        self.readings[index] = replace(
            before, responses=before.responses + 1, errors=before.errors + (took_s < 0), times=counts
        )


def lognormal(chance: random.Random) -> float:
    return 0.02 * chance.lognormvariate(0.0, 0.8)


def bimodal(chance: random.Random) -> float:
    """One request in ten misses the cache: p90 is at the edge."""
    return chance.uniform(0.1, 0.3) if chance.random() < 0.1 else chance.uniform(0.002, 0.004)


def failing(share: float) -> Callable[[random.Random], float]:
    return lambda chance: lognormal(chance) * (-1 if chance.random() < share else 1)


@pytest.mark.parametrize("alike", [lognormal, bimodal, failing(0.02)])
def test_code_that_is_as_good_goes_on(alike: Callable[[random.Random], float]) -> None:
    verdicts = [Service(seed, per_second=20).run(alike, alike) for seed in range(20)]
    assert [verdict.why for verdict in verdicts if verdict.decision is not GO_ON] == []


@pytest.mark.parametrize("seed", range(3))
def test_code_that_is_twice_as_slow_is_rolled_back_at_the_end_of_the_window(seed: int) -> None:
    service = Service(seed, per_second=60)
    verdict = service.run(lognormal, lambda chance: 2 * lognormal(chance))
    assert (verdict.decision, service.seconds) == (ROLL_BACK, 60)
    assert "of the response time" in verdict.why


@pytest.mark.parametrize("seed", range(3))
def test_code_that_fails_one_request_in_five_is_rolled_back_within_seconds(seed: int) -> None:
    service = Service(seed, per_second=60)
    verdict = service.run(failing(0.001), failing(0.2))
    assert verdict.decision is ROLL_BACK
    assert "status 5xx" in verdict.why
    assert service.seconds < 20
