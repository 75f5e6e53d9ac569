"""Recycling: rule by rule, and in the life of a pool whose application leaks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefork.pool import policy, recycling
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import PolicyState
from prefork.pool.recycling import (
    JITTER,
    LEAST_AGE_S,
    MOST_LEAST_AGE_S,
    Reason,
    RecyclingLimits,
    RecyclingState,
    Seen,
    Verdict,
)

MIB = 1 << 20
NONE = RecyclingLimits(0.0, 0, 0)
OLD = replace(NONE, max_age_s=100.0)
BIG = replace(NONE, max_bytes=300 * MIB)
CROWD = replace(NONE, max_pool_bytes=1000 * MIB)
NOW = 1000.0


def worker(index: int, age_s: float = 60.0, mib: int | None = None, lot: float = 0.0) -> Seen:
    return Seen(index, NOW - age_s, lot, None if mib is None else mib * MIB)


def found(verdict: Verdict) -> list[tuple[int, Reason]]:
    return [(one.index, reason) for one, reason in verdict.due]


def look(*workers: Seen, limits: RecyclingLimits, state: RecyclingState | None = None) -> Verdict:
    return recycling.due(workers, limits, state or RecyclingState(), NOW)


def test_without_limits_no_worker_is_replaced() -> None:
    assert found(look(worker(0, 1e9, 1 << 20), limits=NONE)) == []


def test_an_old_worker_is_replaced_and_up_to_a_tenth_earlier() -> None:
    several = [worker(0, 100), worker(1, 99), worker(2, 95, lot=0.5), worker(3, 94, lot=0.5)]
    assert found(look(*several, limits=OLD)) == [(0, Reason.AGE), (2, Reason.AGE)]
    assert JITTER == 0.1


def test_a_large_worker_is_replaced_and_up_to_a_tenth_smaller() -> None:
    several = [worker(0, mib=301), worker(1, mib=300), worker(2, mib=271, lot=1), worker(3, mib=269, lot=1)]
    assert found(look(*several, limits=BIG)) == [(0, Reason.MEMORY), (2, Reason.MEMORY)]


def test_what_is_not_known_is_no_reason() -> None:
    assert found(look(worker(0), limits=BIG)) == []


def test_what_is_being_replaced_is_not_named_again() -> None:
    assert found(look(replace(worker(0, 200, 400), outdated=True), limits=replace(BIG, max_age_s=100))) == []


def test_of_a_pool_that_is_too_large_the_largest_goes_and_the_next_when_that_is_gone() -> None:
    several = [worker(0, mib=200), worker(1, mib=500), worker(2, mib=400)]
    verdict = look(*several, limits=CROWD)
    assert found(verdict) == [(1, Reason.POOL_MEMORY)]
    assert verdict.state.is_crowded
    assert verdict.bytes == 1100 * MIB
    going = [several[0], replace(several[1], outdated=True), several[2]]
    assert found(look(*going, limits=CROWD)) == []
    assert found(look(several[0], worker(3, mib=500), several[2], limits=CROWD)) == [(3, Reason.POOL_MEMORY)]


def test_where_all_use_the_same_a_new_worker_would_free_nothing() -> None:
    verdict = look(*(worker(index, mib=300) for index in range(4)), limits=CROWD)
    assert found(verdict) == []
    assert verdict.state.is_crowded


def test_a_pool_is_too_large_until_it_is_clearly_smaller() -> None:
    state = RecyclingState(is_crowded=True)
    assert look(worker(0, mib=951), limits=CROWD, state=state).state.is_crowded
    assert not look(worker(0, mib=950), limits=CROWD, state=state).state.is_crowded
    assert not look(worker(0, mib=951), limits=CROWD).state.is_crowded


def test_a_worker_that_is_too_large_at_once_is_replaced_ever_more_seldom() -> None:
    state, now, ages = RecyclingState(), 0.0, []
    for _ in range(10):
        started = now
        while not (verdict := recycling.due([Seen(0, started, 0, 400 * MIB)], BIG, state, now)).due:
            now += 1
        state = verdict.state
        ages.append(now - started)
    assert ages[:4] == [10, 20, 40, 80]
    assert ages[-1] == MOST_LEAST_AGE_S


def test_workers_that_were_there_before_the_last_change_do_not_change_it_again() -> None:
    state = look(*(worker(index, 12, 400) for index in range(8)), limits=BIG).state
    assert state.least_age_s == 2 * LEAST_AGE_S
    again = recycling.due([worker(index, 12, 400) for index in range(8)], BIG, state, NOW + 9)
    assert again.state.least_age_s == 2 * LEAST_AGE_S


def test_workers_that_live_long_end_the_caution() -> None:
    state = RecyclingState(least_age_s=40.0, raised_at=0.0)
    assert look(worker(0, 500, 400), limits=BIG, state=state).state.least_age_s == 20.0


# --- the life of a pool ------------------------------------------------------------------------------------


class LeakingPool:
    """A pool of `count` workers, of which each uses `base` MiB and leaks; a worker boots in `boot_s`."""

    def __init__(
        self, count: int, limits: RecyclingLimits, base: int, leak: list[float], boot_s: float
    ) -> None:
        self.limits = limits
        self.pool = PoolLimits(count, count, count, 1.0, 1, capacity=2 * count + 2)
        self.base, self.leak, self.boot_s = base, leak, boot_s
        self.now = 0.0
        self.indexes = itertools.count()
        self.slots: dict[int, Slot] = {}
        self.policy = PolicyState()
        self.recycling = RecyclingState()
        self.spawned = 0
        self.fewest = count
        self.largest = 0.0
        for _ in range(count):
            self.spawn(State.SPARE)

    def spawn(self, state: State = State.STARTING) -> None:
        self.spawned += 1
        index = next(self.indexes)
        self.slots[index] = Slot(index, state, 1, self.now)

    def mib(self, slot: Slot) -> float:
        return self.base + self.leak[slot.index % len(self.leak)] * (self.now - slot.since)

    def step(self) -> None:
        """A second passes."""
        self.now += 1.0
        for slot in list(self.slots.values()):
            if slot.state is State.DRAINING:
                del self.slots[slot.index]
            elif slot.state is State.STARTING and self.now - slot.since >= self.boot_s:
                self.slots[slot.index] = replace(slot, state=State.SPARE)
        serving = [slot for slot in self.slots.values() if slot.state is State.SPARE]
        self.fewest = min(self.fewest, len(serving))
        self.largest = max(self.largest, *(self.mib(slot) for slot in serving))
        seen = [
            Seen(one.index, one.since, one.index * 0.618 % 1, int(self.mib(one) * MIB), one.outdated)
            for one in serving
        ]
        verdict = recycling.due(seen, self.limits, self.recycling, self.now)
        self.recycling = verdict.state
        for one, _ in verdict.due:
            self.slots[one.index] = replace(self.slots[one.index], outdated=True)
        while True:
            plan = policy.plan(list(self.slots.values()), self.pool, self.policy, self.now)
            self.policy = plan.state
            for index in plan.retire:
                self.slots[index] = replace(self.slots[index], state=State.DRAINING)
            for _ in range(plan.spawn):
                self.spawn()
            if plan.wake_at is None or plan.wake_at > self.now:
                return


@settings(max_examples=60)
@given(
    count=st.integers(1, 12),
    base=st.integers(10, 500),
    leak=st.lists(st.floats(0, 50), min_size=1, max_size=5),
    boot_s=st.floats(0.0, 5.0),
    max_age_s=st.sampled_from([0.0, 30.0, 300.0]),
    max_pool=st.sampled_from([0, 1000]),
)
def test_whatever_an_application_leaks_its_pool_has_as_many_workers_as_before(
    count: int, base: int, leak: list[float], boot_s: float, max_age_s: float, max_pool: int
) -> None:
    limits = RecyclingLimits(max_age_s, 300 * MIB, max_pool * MIB)
    pool = LeakingPool(count, limits, base, leak, boot_s)
    for _ in range(600):
        pool.step()
    assert pool.fewest == count
    shortest_s = min(max_age_s * (1 - JITTER) or LEAST_AGE_S, LEAST_AGE_S)
    assert pool.spawned <= count * (1 + 600 / shortest_s) + 1


def test_an_application_that_leaks_slowly_never_uses_much_more_than_it_may() -> None:
    pool = LeakingPool(16, BIG, base=40, leak=[1.0, 2.0, 3.0], boot_s=1.0)
    for _ in range(3600):
        pool.step()
    assert pool.largest < 1.2 * 300
    assert pool.recycling.least_age_s == LEAST_AGE_S
    assert pool.fewest == 16


def test_an_application_that_needs_more_than_it_may_costs_few_forks() -> None:
    pool = LeakingPool(8, BIG, base=400, leak=[0.0], boot_s=0.1)
    for _ in range(3600):
        pool.step()
    assert pool.spawned < 8 * (7 + 3600 / MOST_LEAST_AGE_S)
    assert pool.fewest == 8


def test_workers_that_started_together_do_not_end_together() -> None:
    pool = LeakingPool(20, replace(NONE, max_age_s=1000.0), base=1, leak=[0.0], boot_s=1.0)
    began: list[int] = []
    for _ in range(1010):
        before = pool.spawned
        pool.step()
        began += [int(pool.now)] * (pool.spawned - before)
    assert len(began) == 20
    assert began[0] < 920
    assert began[-1] > 980
    assert max(began.count(moment) for moment in began) == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_is_named_after_its_option(reason: Reason) -> None:
    from prefork.config.checked import EXTERNAL

    assert reason.value in EXTERNAL
