"""The pool's policy: rule by rule, as properties over random lives, and over years of simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from prefork.pool import policy, policy_state
from prefork.pool.policy import Plan, PoolLimits, Slot, State, Trial, is_hopeless
from prefork.pool.policy_state import (
    EARLY_S,
    FREE_CRASHES,
    PolicyState,
    Replacement,
    boot_failed,
    booted,
    died_early,
    fork_failed,
    is_braked,
)

STARTING, SPARE, ACTIVE, DRAINING = State.STARTING, State.SPARE, State.ACTIVE, State.DRAINING
LIMITS = PoolLimits(
    min_spare=5, max_spare=10, max_clients=100, check_interval=1.0, generation=1, capacity=200
)


def workers(*groups: tuple[int, State] | tuple[int, State, int]) -> list[Slot]:
    """`(3, SPARE)` is three spares, `(3, SPARE, 2)` of generation 2; the later the younger."""
    kinds = [(group[1], group[2] if len(group) == 3 else 1) for group in groups for _ in range(group[0])]
    return [Slot(index, state, generation, float(index)) for index, (state, generation) in enumerate(kinds)]


def fixed(count: int, generation: int = 1) -> PoolLimits:
    return PoolLimits(count, count, count, 1.0, generation, capacity=2 * count + 2)


class Pool:
    """Carries plans out at once, as the manager does, and checks what must always hold."""

    def __init__(self, limits: PoolLimits, slots: list[Slot] | None = None, now: float = 1000.0) -> None:
        self.limits = limits
        self.slots: dict[int, Slot] = {}
        self.states: Counter[State] = Counter()
        self.indexes = itertools.count(1000)
        self.state = PolicyState()
        self.now = now
        self.forked = 0
        self.retired: list[Slot] = []
        for slot in slots or []:
            self.put(slot)

    def put(self, slot: Slot) -> None:
        self.drop(slot.index)
        self.slots[slot.index] = slot
        self.states[slot.state] += 1

    def drop(self, index: int) -> None:
        if (old := self.slots.pop(index, None)) is not None:
            self.states[old.state] -= 1

    def set(self, index: int, state: State) -> None:
        self.put(replace(self.slots[index], state=state))

    def outdate(self, index: int) -> None:
        self.put(replace(self.slots[index], outdated=True))

    def all(self, *states: State) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.state in states]

    def count(self, *states: State) -> int:
        return sum(self.states[state] for state in states)

    @property
    def live(self) -> int:
        return self.count(STARTING, SPARE, ACTIVE)

    @property
    def newest(self) -> int:
        """How many live workers are of the newest generation."""
        live = self.all(STARTING, SPARE, ACTIVE)
        return sum(slot.generation == self.limits.generation for slot in live)

    def plan(self) -> Plan:
        return policy.plan(list(self.slots.values()), self.limits, self.state, self.now)

    def settle(self) -> Plan:
        """Calls and follows the plan until it wants nothing more now."""
        for _ in range(10_000):
            plan = self.plan()
            self.obey(plan)
            if plan.wake_at is None or plan.wake_at > self.now:
                return plan
        raise AssertionError("the plan never settles")

    def obey(self, plan: Plan) -> None:
        self.state = plan.state
        for index in plan.retire:
            slot = self.slots[index]
            outdated = slot.outdated or slot.generation != self.limits.generation
            assert slot.state in ((SPARE, ACTIVE) if outdated else (SPARE,)), "a busy worker is not surplus"
            too_many = self.count(SPARE) > self.limits.max_spare or self.live > self.limits.max_clients
            assert outdated or too_many
            self.retire(slot)
        for index in itertools.islice(self.indexes, plan.spawn):
            self.fork(Slot(index, STARTING, plan.generation, self.now))
        assert sum(made.change for made in plan.decisions) == plan.spawn - len(plan.retire)
        assert all(made.change and made.why for made in plan.decisions)
        step = plan.state.replacement
        assert not plan.spawn or self.live <= self.limits.max_clients + (step.size if step else 0)
        if plan.spawn and self.limits.trial is not None and plan.generation == self.limits.generation:
            assert self.newest <= self.limits.trial.most(self.live - plan.spawn)
        assert len(self.slots) <= self.limits.capacity
        assert not (plan.overcommit and self.count(SPARE)), "a spare is there to take it"

    def fork(self, slot: Slot) -> None:
        self.forked += 1
        self.put(slot)

    def retire(self, slot: Slot) -> None:
        self.retired.append(slot)
        self.set(slot.index, DRAINING)

    def boot(self) -> None:
        """All that start are spare a little later."""
        self.now += 0.001
        for slot in self.all(STARTING):
            self.set(slot.index, SPARE)
            self.state = policy_state.booted(self.state, self.now)

    def reap(self) -> None:
        """All that drain are gone."""
        for slot in self.all(DRAINING):
            self.drop(slot.index)

    def live_quietly(self, seconds: float) -> None:
        """Time passes, new workers boot and draining ones leave; no request comes."""
        until = self.now + seconds
        while True:
            plan = self.settle()
            if self.count(STARTING, DRAINING):
                self.boot()
                self.reap()
            elif plan.wake_at is not None and plan.wake_at <= until:
                self.now = plan.wake_at
            else:
                self.now = max(self.now, until)
                return


# --- growth -------------------------------------------------------------------------------------------------


def first(slots: list[Slot], state: PolicyState | None = None, now: float = 1000.0) -> Plan:
    return policy.plan(slots, LIMITS, state or PolicyState(), now)


def test_enough_spares_need_nothing() -> None:
    plan = first(workers((5, SPARE), (20, ACTIVE)))
    assert (plan.spawn, plan.retire, plan.wake_at) == (0, (), None)
    assert plan.may_grow
    assert not plan.overcommit


def test_a_missing_spare_is_forked_at_once() -> None:
    assert first(workers((4, SPARE))).spawn == 1


def test_starting_workers_count_as_spares() -> None:
    assert first(workers((2, SPARE), (3, STARTING))).spawn == 0


def test_growth_doubles_up_to_the_deficit_and_begins_anew() -> None:
    limits = replace(LIMITS, min_spare=80, max_spare=90)
    pool = Pool(limits)
    batches = []
    while (plan := pool.plan()).spawn:
        batches.append(plan.spawn)
        pool.obey(plan)
    assert batches == [1, 2, 4, 8, 16, 32, 17]
    assert pool.state.batch == 1


def test_growth_asks_to_be_called_again_at_once_while_more_is_wanted() -> None:
    plan = first(workers((1, SPARE)))
    assert (plan.spawn, plan.wake_at) == (1, 1000.0)
    assert first(workers((4, SPARE))).wake_at is None


def test_growth_stops_at_max_clients_and_draining_workers_do_not_count() -> None:
    pool = Pool(LIMITS, workers((98, ACTIVE), (50, DRAINING)))
    plan = pool.settle()
    assert pool.forked == 2
    assert not plan.may_grow


def test_growth_stops_at_the_capacity_of_the_scoreboard() -> None:
    pool = Pool(replace(LIMITS, capacity=52), workers((50, DRAINING)))
    pool.settle()
    assert pool.forked == 2


def test_empty_slots_do_not_count() -> None:
    slots = [*workers((5, SPARE)), *(Slot(100 + index, State.EMPTY, 0, 0.0) for index in range(50))]
    assert first(slots) == first(slots[:5])


def test_a_minimum_of_no_spare_still_serves() -> None:
    limits = replace(LIMITS, min_spare=0, max_spare=0)
    pool = Pool(limits)
    pool.live_quietly(100)
    assert pool.count(SPARE) == pool.forked == 1


def test_overcommit_when_no_worker_is_spare_and_none_can_be() -> None:
    assert first(workers((100, ACTIVE))).overcommit
    assert not first(workers((99, ACTIVE), (1, SPARE))).overcommit
    assert not first(workers((99, ACTIVE), (1, STARTING))).overcommit
    assert not first(workers((50, ACTIVE))).overcommit  # because it forks
    backing_off = policy_state.fork_failed(PolicyState(), 1000.0)
    assert first(workers((50, ACTIVE)), state=backing_off).overcommit
    assert first(workers((50, ACTIVE), (1, STARTING)), state=backing_off).overcommit


# --- shrinking ----------------------------------------------------------------------------------------------


def test_surplus_leaves_one_for_each_interval() -> None:
    pool = Pool(LIMITS, workers((13, SPARE)))
    assert pool.settle().wake_at == 1001.0
    left = []
    for _ in range(5):
        pool.now += 0.5
        pool.settle()
        left.append(pool.count(SPARE))
    assert left == [13, 12, 12, 11, 11]
    pool.live_quietly(100)
    assert pool.count(SPARE) == 10
    assert pool.settle().wake_at is None


def test_the_youngest_spare_goes_and_no_busy_worker() -> None:
    slots = [*workers((11, SPARE)), Slot(50, ACTIVE, 1, 99.0), Slot(51, STARTING, 1, 99.0)]
    pool = Pool(LIMITS, slots)
    pool.settle()
    pool.now += 1
    pool.settle()
    assert [slot.index for slot in pool.retired] == [10]


def test_a_short_lull_costs_no_worker() -> None:
    pool = Pool(LIMITS, workers((12, SPARE)))
    for _ in range(20):
        pool.now += 0.9
        pool.settle()
        for index in (0, 1):
            pool.set(index, ACTIVE)  # busy again before the interval is over
        pool.settle()
        for index in (0, 1):
            pool.set(index, SPARE)
    assert pool.retired == []


def test_a_maximum_below_the_minimum_does_not_flap() -> None:
    pool = Pool(replace(LIMITS, min_spare=5, max_spare=2))
    pool.live_quietly(1000)
    assert (pool.forked, pool.retired) == (5, [])


def test_a_fixed_pool_holds_its_number() -> None:
    pool = Pool(fixed(8))
    pool.live_quietly(10)
    for slot in pool.all(SPARE):
        pool.set(slot.index, ACTIVE)
    assert not pool.settle().may_grow
    assert pool.forked == 8
    for slot in pool.all(ACTIVE)[:2]:
        pool.drop(slot.index)
    pool.settle()
    assert pool.forked == 10
    pool.live_quietly(1000)
    assert (pool.live, pool.retired) == (8, [])


# --- replacing ----------------------------------------------------------------------------------------------


def test_a_reload_replaces_one_by_one_and_never_has_fewer_spares() -> None:
    pool = Pool(fixed(4, generation=2), workers((4, SPARE)))
    for step in range(4):
        pool.settle()
        assert (pool.count(STARTING), pool.count(SPARE)) == (1, 4)
        assert len(pool.retired) == step
        pool.boot()
    pool.live_quietly(1000)
    assert pool.forked == 4
    assert {slot.generation for slot in pool.slots.values()} == {2}
    assert pool.count(SPARE) == 4


def test_a_replacement_that_is_still_starting_replaces_none() -> None:
    pool = Pool(fixed(4, generation=2), workers((4, SPARE)))
    pool.settle()
    pool.now += 3600
    pool.settle()
    assert (pool.forked, pool.retired) == (1, [])


def test_outdated_spares_go_before_outdated_actives() -> None:
    pool = Pool(fixed(4, generation=2), workers((2, ACTIVE), (2, SPARE)))
    pool.live_quietly(10)
    assert [slot.state for slot in pool.retired] == [SPARE, SPARE, ACTIVE, ACTIVE]


def test_a_reload_goes_on_while_every_worker_is_busy() -> None:
    pool = Pool(fixed(4, generation=2), workers((4, ACTIVE)))
    for _ in range(50):
        pool.settle()
        pool.boot()
        pool.reap()
        for slot in pool.all(SPARE):
            pool.set(slot.index, ACTIVE)
    assert {slot.generation for slot in pool.slots.values()} == {2}
    assert (pool.live, pool.forked) == (4, 4)


def test_a_replacement_makes_good_for_a_worker_that_died_meanwhile() -> None:
    pool = Pool(fixed(2, generation=2), workers((2, SPARE)))
    pool.settle()
    pool.drop(0)
    pool.boot()
    pool.settle()
    assert pool.retired == []
    assert pool.count(SPARE) == 2
    pool.live_quietly(10)
    assert {slot.generation for slot in pool.slots.values()} == {2}


def test_a_replacement_that_fails_to_boot_is_tried_again_later_and_the_old_code_serves_on() -> None:
    pool = Pool(fixed(4, generation=2), workers((4, SPARE)))
    for _ in range(100):
        plan = pool.settle()
        for broken in pool.all(STARTING):
            pool.drop(broken.index)
            pool.state = policy_state.boot_failed(pool.state, pool.now)
        if plan.wake_at is not None:
            pool.now = plan.wake_at
        assert pool.count(SPARE) == 4
    assert pool.now > 1000 + 30 * 20
    pool.live_quietly(100)
    assert {slot.generation for slot in pool.slots.values()} == {2}


def test_a_lower_maximum_retires_spares_at_once_and_active_workers_when_they_are_spare() -> None:
    slots = workers((4, SPARE), (3, ACTIVE))
    lowered = PoolLimits(1, 10, 5, check_interval=1.0, generation=1, capacity=200)
    first = policy.plan(slots, lowered, PolicyState(), 1000.0)
    assert (first.spawn, first.retire) == (0, (3, 2))  # the youngest
    lowest = PoolLimits(1, 10, 2, check_interval=1.0, generation=1, capacity=200)
    second = policy.plan(slots, lowest, PolicyState(), 1000.0)
    assert (second.spawn, second.retire, second.overcommit) == (0, (3, 2, 1, 0), True)
    assert policy.plan(workers((3, ACTIVE)), lowest, PolicyState(), 1000.0).retire == ()
    assert policy.plan(workers((2, ACTIVE), (1, SPARE)), lowest, PolicyState(), 1000.0).retire == (2,)


def test_a_worker_that_is_about_to_replace_another_is_not_over_the_maximum() -> None:
    limits = fixed(2, generation=2)
    slots = [*workers((2, SPARE, 1)), Slot(7, STARTING, 2, 1000.0)]
    state = PolicyState(replacement=Replacement(1000.0, 2))
    assert policy.plan(slots, limits, state, 1001.0).retire == ()


def test_a_reload_that_overtakes_another_keeps_to_one_more_than_max_clients() -> None:
    pool = Pool(fixed(3, generation=2), workers((3, SPARE)))
    pool.settle()
    pool.limits = fixed(3, generation=3)
    pool.live_quietly(100)
    assert {slot.generation for slot in pool.slots.values()} == {3}
    assert pool.live == 3


def test_surplus_takes_the_outdated_first() -> None:
    pool = Pool(replace(LIMITS, generation=2), workers((6, SPARE, 1), (6, SPARE, 2)))
    pool.state = replace(pool.state, surplus_since=0.0)
    pool.obey(pool.plan())
    assert [slot.generation for slot in pool.retired] == [1]


def test_a_reload_without_a_slot_to_spare_waits_for_one() -> None:
    limits = replace(fixed(3, generation=2), capacity=3)
    pool = Pool(limits, workers((3, SPARE)))
    pool.settle()
    assert (pool.forked, pool.retired) == (0, [])


def test_an_outdated_worker_of_the_newest_generation_is_replaced_and_no_other() -> None:
    pool = Pool(fixed(4), workers((4, SPARE)))
    pool.outdate(2)
    pool.settle()
    assert (pool.count(STARTING), pool.count(SPARE)) == (1, 4)
    pool.live_quietly(1000)
    assert [slot.index for slot in pool.retired] == [2]
    assert (pool.forked, pool.count(SPARE)) == (1, 4)


def test_a_busy_outdated_worker_is_replaced_in_a_pool_that_may_not_grow() -> None:
    pool = Pool(fixed(2), workers((2, ACTIVE)))
    pool.outdate(0)
    pool.settle()
    pool.boot()
    pool.settle()
    assert [slot.index for slot in pool.retired] == [0]


def test_outdated_workers_serve_on_while_no_other_boots() -> None:
    pool = Pool(fixed(2), workers((2, SPARE)))
    for index in (0, 1):
        pool.outdate(index)
    for _ in range(20):
        plan = pool.settle()
        for broken in pool.all(STARTING):
            pool.drop(broken.index)
            pool.state = policy_state.boot_failed(pool.state, pool.now)
        assert pool.count(SPARE) == 2
        pool.now = plan.wake_at or pool.now
    pool.live_quietly(100)
    assert len(pool.retired) == 2


def test_surplus_takes_the_outdated_of_a_generation_first() -> None:
    pool = Pool(LIMITS, workers((12, SPARE)))
    pool.outdate(3)
    pool.state = replace(pool.state, surplus_since=0.0)
    pool.obey(pool.plan())
    assert [slot.index for slot in pool.retired] == [3]


def test_a_share_of_the_pool_is_replaced_at_once() -> None:
    pool = Pool(replace(fixed(20, generation=2), rollout=0.1, capacity=50), workers((20, SPARE)))
    for step in range(10):
        pool.settle()
        assert (pool.count(STARTING), pool.count(SPARE), len(pool.retired)) == (2, 20, 2 * step)
        pool.boot()
        pool.reap()
    pool.live_quietly(1000)
    assert (pool.forked, pool.live) == (20, 20)


def test_the_whole_pool_is_replaced_at_once_and_no_worker_leaves_before() -> None:
    pool = Pool(replace(fixed(7, generation=2), rollout=1.0, capacity=20), workers((3, SPARE), (4, ACTIVE)))
    pool.settle()
    assert (pool.count(STARTING), pool.retired) == (7, [])
    pool.boot()
    pool.settle()
    assert len(pool.retired) == pool.live == 7


def test_the_last_step_is_no_larger_than_what_is_left() -> None:
    pool = Pool(replace(fixed(5, generation=2), rollout=0.35, capacity=20), workers((5, SPARE)))
    sizes = []
    while any(slot.generation == 1 for slot in pool.slots.values()):
        pool.settle()
        sizes.append(pool.count(STARTING))
        pool.boot()
        pool.settle()
        pool.reap()
    assert (sizes, pool.forked) == ([2, 2, 1], 5)


def test_a_share_of_less_than_a_worker_is_one() -> None:
    pool = Pool(replace(fixed(4, generation=2), rollout=0.1), workers((4, SPARE)))
    pool.settle()
    assert pool.count(STARTING) == 1


def test_each_new_worker_that_is_ready_retires_an_old_one_while_others_still_start() -> None:
    pool = Pool(replace(fixed(6, generation=2), rollout=0.5, capacity=20), workers((6, SPARE)))
    pool.settle()
    for ready, slot in enumerate(pool.all(STARTING), 1):
        pool.now += 0.001
        pool.set(slot.index, SPARE)
        pool.settle()
        assert len(pool.retired) == ready
    assert pool.count(STARTING) == 3, "the next step has begun"


def test_of_a_step_in_which_a_worker_fails_only_those_that_are_ready_replace_others() -> None:
    pool = Pool(replace(fixed(6, generation=2), rollout=0.5, capacity=20), workers((6, SPARE)))
    pool.settle()
    broken = pool.all(STARTING)[0]
    pool.drop(broken.index)
    pool.state = policy_state.boot_failed(pool.state, pool.now)
    pool.boot()
    pool.settle()
    assert len(pool.retired) == 2
    pool.live_quietly(100)
    assert {slot.generation for slot in pool.slots.values()} == {2}


def test_a_new_worker_that_makes_good_for_a_dead_one_retires_no_other_of_its_step() -> None:
    pool = Pool(replace(fixed(6, generation=2), rollout=0.5, capacity=20), workers((6, SPARE)))
    pool.settle()
    pool.drop(0)
    pool.boot()
    pool.obey(pool.plan())
    assert len(pool.retired) == 2
    assert pool.count(SPARE) == 6


# --- a canary -----------------------------------------------------------------------------------------------


def trial(count: int, share: float = 0.1) -> PoolLimits:
    return replace(fixed(count, generation=2), trial=Trial(share, previous=1), capacity=2 * count + 8)


def test_a_canary_replaces_its_share_and_no_more() -> None:
    for count, expected in ((1, 1), (4, 1), (10, 1), (11, 2), (30, 3), (100, 10)):
        pool = Pool(trial(count), workers((count, SPARE)))
        pool.live_quietly(1000)
        assert pool.newest == expected
        assert pool.live == max(count, 2), "the old code keeps a worker, to compare with"


def test_the_others_follow_when_the_canary_goes_on() -> None:
    pool = Pool(trial(10), workers((10, SPARE)))
    pool.live_quietly(60)
    pool.limits = replace(pool.limits, trial=None)
    pool.live_quietly(60)
    assert (pool.newest, pool.live, pool.forked) == (10, 10, 10)


def test_the_new_ones_are_replaced_when_the_canary_is_rolled_back() -> None:
    pool = Pool(trial(20), workers((20, SPARE)))
    pool.live_quietly(60)
    pool.limits = replace(pool.limits, generation=1, trial=None)
    pool.live_quietly(60)
    assert {slot.generation for slot in pool.slots.values()} == {1}
    assert (pool.live, pool.forked) == (20, 4)
    assert [slot.generation for slot in pool.retired] == [1, 1, 2, 2]


def test_a_pool_that_grows_while_a_canary_lasts_grows_by_old_workers_and_keeps_the_share() -> None:
    limits = replace(LIMITS, generation=2, trial=Trial(0.1, previous=1))
    pool = Pool(limits, workers((10, SPARE)))
    pool.live_quietly(10)
    assert pool.newest == 1
    for slot in pool.all(SPARE):
        pool.set(slot.index, ACTIVE)
    plan = pool.plan()
    assert (plan.spawn, plan.generation) == (1, 1)
    pool.live_quietly(10)
    assert (pool.live, pool.newest) == (15, 2)


def test_a_pool_that_shrinks_while_a_canary_lasts_keeps_the_share() -> None:
    limits = replace(LIMITS, generation=2, trial=Trial(0.1, previous=1))
    pool = Pool(limits, workers((90, SPARE), (10, SPARE, 2)))
    pool.live_quietly(1000)
    assert (pool.live, pool.newest) == (10, 1)


def test_a_lower_maximum_while_a_canary_lasts_keeps_the_share() -> None:
    pool = Pool(replace(trial(100), min_spare=5, max_spare=100), workers((90, SPARE), (10, SPARE, 2)))
    pool.limits = replace(pool.limits, max_clients=20)
    pool.settle()
    assert (pool.live, pool.newest) == (20, 2)
    pool.limits = replace(pool.limits, max_clients=1)
    pool.settle()
    assert (pool.live, pool.newest) == (2, 1)


def test_a_new_worker_that_dies_while_a_canary_lasts_is_replaced_by_a_new_one() -> None:
    pool = Pool(trial(10), workers((10, SPARE)))
    pool.live_quietly(10)
    (new,) = (slot for slot in pool.slots.values() if slot.generation == 2)
    pool.drop(new.index)
    pool.live_quietly(10)
    assert (pool.live, pool.newest) == (10, 1)


def test_other_replacements_wait_while_a_canary_lasts() -> None:
    pool = Pool(trial(10), workers((10, SPARE)))
    pool.live_quietly(10)
    retired = len(pool.retired)
    for slot in list(pool.slots.values()):
        pool.outdate(slot.index)
    pool.live_quietly(10)
    assert len(pool.retired) == retired
    pool.limits = replace(pool.limits, trial=None)
    pool.live_quietly(10)
    assert not any(slot.outdated for slot in pool.slots.values())


# --- failures -----------------------------------------------------------------------------------------------


def test_failed_forks_back_off_up_to_half_a_minute_and_keep_what_runs() -> None:
    state, now, delays = PolicyState(), 1000.0, []
    for _ in range(12):
        state = policy_state.fork_failed(state, now)
        plan = first(workers((1, SPARE)), state=state, now=now)
        assert (plan.spawn, plan.retire, plan.may_grow) == (0, (), False)
        assert plan.wake_at is not None
        delays.append(round(plan.wake_at - now, 6))
        now = plan.wake_at
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


def test_after_a_failure_one_worker_probes_until_it_boots() -> None:
    pool = Pool(LIMITS, workers((1, SPARE)))
    pool.state = policy_state.boot_failed(pool.state, pool.now)
    pool.now += 0.1
    assert pool.settle().wake_at is None
    assert pool.forked == 1
    pool.boot()
    pool.settle()
    assert pool.forked == 4


def test_workers_that_fail_together_are_one_failure() -> None:
    state = PolicyState()
    for _ in range(10):
        state = policy_state.boot_failed(state, 1000.0)
    assert state == policy_state.boot_failed(PolicyState(), 1000.0)


def test_a_success_ends_the_backing_off() -> None:
    state = policy_state.fork_failed(PolicyState(), 1000.0)
    assert policy_state.booted(state, 1000.0) == PolicyState(has_booted=True)
    assert first(workers((4, SPARE)), state=policy_state.booted(state, 1000.0)).spawn == 1


def test_a_million_failures_are_no_overflow() -> None:
    state = replace(PolicyState(), failures=1_000_000, crashes=1_000_000)
    assert policy_state.fork_failed(state, 0.0).not_before == 30.0
    assert policy_state.died_early(state, 0.0).not_before == 1.0


# --- workers that die as soon as they are ready -------------------------------------------------------------


class Crashing(Pool):
    """Each worker is spare at once. Those that are forked die `life_s` later while the `fault` lasts."""

    def __init__(self, limits: PoolLimits, life_s: float) -> None:
        super().__init__(limits)
        self.life_s = life_s
        self.fault = True
        self.ends: list[tuple[float, int]] = []

    def fork(self, slot: Slot) -> None:
        super().fork(slot)
        if self.fault:
            heapq.heappush(self.ends, (self.now + self.life_s, slot.index))

    def obey(self, plan: Plan) -> None:
        super().obey(plan)
        for slot in self.all(STARTING):
            self.set(slot.index, SPARE)
            self.state = booted(self.state, self.now)

    def run(self, seconds: float) -> int:
        """Lets so much time pass. Returns how many were forked."""
        until, before = self.now + seconds, self.forked
        while True:
            self.settle()
            plan = self.settle()  # as a worker that has booted calls
            wake_at = math.inf if plan.wake_at is None else plan.wake_at
            end, index = self.ends[0] if self.ends else (math.inf, 0)
            if min(end, wake_at) > until:
                self.now = until
                return self.forked - before
            self.now = max(self.now, min(end, wake_at))
            if end <= wake_at:
                heapq.heappop(self.ends)
                self.drop(index)
                self.state = died_early(self.state, self.now)


@pytest.mark.parametrize("life_s", [0.0, 0.03, 0.9])
@pytest.mark.parametrize("size", [1, 4, 32])
def test_a_loop_of_crashes_is_braked_until_workers_live_again(size: int, life_s: float) -> None:
    pool = Crashing(fixed(size), life_s)
    first = pool.run(10)
    assert first <= size + FREE_CRASHES + 13, "0.1 s, 0.2 s, 0.4 s, 0.8 s, 1 s ..."
    assert pool.run(1000) <= 1000
    pool.fault = False
    pool.run(1 + 2 * EARLY_S)
    assert pool.count(SPARE) == size
    assert not is_braked(pool.state)


def test_the_first_crashes_are_replaced_at_once() -> None:
    pool = Pool(fixed(4), workers((4, SPARE)))
    for crash in range(FREE_CRASHES):
        pool.drop(min(pool.slots))
        pool.state = died_early(pool.state, pool.now)
        pool.settle()
        assert pool.forked == crash + 1
        pool.boot()
    pool.drop(min(pool.slots))
    pool.state = died_early(pool.state, pool.now)
    plan = pool.settle()
    assert (pool.forked, plan.spawn, plan.wake_at) == (FREE_CRASHES, 0, pool.now + 0.1)


def test_one_crash_each_second_is_never_braked() -> None:
    pool = Pool(fixed(2), workers((2, SPARE)))
    for _ in range(100):
        pool.drop(min(pool.slots))
        pool.state = died_early(pool.state, pool.now)
        pool.settle()
        pool.boot()
        assert pool.count(SPARE) == 2
        pool.now += EARLY_S


def test_crashes_at_one_moment_are_one_step_of_the_brake() -> None:
    state = PolicyState()
    for _ in range(100):
        state = died_early(state, 1000.0)
    assert state.not_before == 1000.1
    assert state.crashes == FREE_CRASHES + 1


@pytest.mark.parametrize(("start_s", "pause_s"), [(0.01, 1.0), (0.1, 1.0), (0.5, 5.0), (9.0, 30.0)])
def test_the_longest_pause_is_a_second_or_ten_times_a_start(start_s: float, pause_s: float) -> None:
    state = died_early(PolicyState(crashes=99), 0.0, start_s)
    assert state.not_before == pause_s


def test_one_that_is_tried_has_to_live_before_the_others_follow() -> None:
    pool = Pool(fixed(4))
    pool.state = PolicyState(crashes=FREE_CRASHES + 1, not_before=pool.now)
    pool.settle()
    assert pool.count(STARTING) == 1
    assert pool.settle().overcommit, "none is expected to serve"
    pool.boot()
    plan = pool.settle()
    assert (pool.count(STARTING), pool.count(SPARE)) == (0, 1)
    assert plan.wake_at == pool.now + EARLY_S
    pool.now += EARLY_S
    pool.settle()
    assert (pool.count(STARTING), pool.count(SPARE)) == (3, 1)
    assert pool.state.crashes == 0


def test_a_worker_that_boots_ends_no_pause_of_a_loop_of_crashes() -> None:
    state = PolicyState(crashes=FREE_CRASHES, has_booted=True)
    state = died_early(state, 1000.0)
    assert booted(state, 1000.0).not_before == 1000.1
    assert policy_state.may_spawn(state).not_before == 1000.1


def test_no_worker_is_retired_for_one_that_has_not_lived_while_others_crash() -> None:
    pool = Pool(fixed(4, generation=2), workers((4, SPARE)))
    pool.state = died_early(pool.state, pool.now)
    pool.settle()
    assert (pool.count(STARTING), pool.retired) == (1, [])
    pool.boot()
    assert pool.settle().wake_at == pool.now + EARLY_S
    assert (pool.count(STARTING), pool.retired) == (0, [])
    pool.now += EARLY_S
    pool.settle()
    assert len(pool.retired) == 1
    pool.live_quietly(10)
    assert {slot.generation for slot in pool.slots.values()} == {2}


@pytest.mark.parametrize("rollout", [0.0, 1.0])
def test_a_crash_amid_a_reload_does_not_keep_it_from_its_end(rollout: float) -> None:
    pool = Pool(replace(fixed(4, generation=2), rollout=rollout), workers((4, SPARE)))
    pool.settle()
    pool.boot()
    pool.drop(max(pool.slots))
    pool.state = died_early(pool.state, pool.now)
    pool.live_quietly(10)
    assert {slot.generation for slot in pool.slots.values()} == {2}
    assert pool.live == 4


def test_one_that_left_before_it_was_ready_is_no_hope() -> None:
    assert not died_early(PolicyState(), 0.0, was_ready=False).has_booted


# --- properties ---------------------------------------------------------------------------------------------


@st.composite
def limits_of_any_size(draw: st.DrawFn) -> PoolLimits:
    low = draw(st.integers(0, 8))
    high = draw(st.integers(low + 1, 16))
    most = draw(st.integers(1, 24))
    rollout = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return PoolLimits(low, high, most, 1.0, 1, capacity=most + draw(st.integers(1, 8)), rollout=rollout)


class PoolLife(RuleBasedStateMachine):
    """Anything may happen in any order; `Pool` checks after every plan what must always hold."""

    @initialize(limits=limits_of_any_size())
    def begin(self, limits: PoolLimits) -> None:
        self.pool = Pool(limits)
        self.pool.settle()

    def pick(self, choice: int, *states: State) -> Slot | None:
        found = self.pool.all(*states)
        return found[choice % len(found)] if found else None

    @rule(choice=st.integers(0, 100), old=st.sampled_from([STARTING, SPARE, ACTIVE]))
    def change(self, choice: int, old: State) -> None:
        if (slot := self.pick(choice, old)) is not None:
            self.pool.set(slot.index, {STARTING: SPARE, SPARE: ACTIVE, ACTIVE: SPARE}[old])
            if old is STARTING:
                self.pool.state = policy_state.booted(self.pool.state, self.pool.now)
        self.pool.settle()

    @rule(choice=st.integers(0, 100))
    def die(self, choice: int) -> None:
        if (slot := self.pick(choice, *State)) is not None:
            self.pool.drop(slot.index)
            if slot.state is STARTING:
                self.pool.state = policy_state.boot_failed(self.pool.state, self.pool.now)
        self.pool.settle()

    @rule(choice=st.integers(0, 100))
    def die_early(self, choice: int) -> None:
        if (slot := self.pick(choice, SPARE, ACTIVE)) is not None:
            self.pool.drop(slot.index)
            self.pool.state = died_early(self.pool.state, self.pool.now)
        self.pool.settle()

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.pool.now += seconds
        self.pool.settle()

    @rule(choice=st.integers(0, 100))
    def outdate(self, choice: int) -> None:
        if (slot := self.pick(choice, STARTING, SPARE, ACTIVE)) is not None:
            self.pool.outdate(slot.index)
        self.pool.settle()

    @rule()
    def fail_to_fork(self) -> None:
        self.pool.state = policy_state.fork_failed(self.pool.state, self.pool.now)
        self.pool.settle()

    @precondition(lambda self: self.pool.limits.generation < 4)
    @rule()
    def reload(self) -> None:
        generation = self.pool.limits.generation + 1
        self.pool.limits = replace(self.pool.limits, generation=generation)
        self.pool.settle()

    @precondition(lambda self: self.pool.limits.generation < 4 and self.pool.limits.trial is None)
    @rule(share=st.floats(0.01, 1.0))
    def begin_canary(self, share: float) -> None:
        before = self.pool.limits.generation
        limits = replace(self.pool.limits, generation=before + 1, trial=Trial(share, before))
        # Workers of a generation before that are replaced first.
        if all(slot.generation == before for slot in self.pool.slots.values()):
            self.pool.limits = limits
        self.pool.settle()

    @precondition(lambda self: self.pool.limits.trial is not None)
    @rule(goes_on=st.booleans())
    def end_canary(self, goes_on: bool) -> None:
        limits = self.pool.limits
        assert limits.trial is not None
        generation = limits.generation if goes_on else limits.trial.previous
        self.pool.limits = replace(limits, generation=generation, trial=None)
        self.pool.settle()

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.pool.limits = replace(self.pool.limits, trial=None)
            converges(self.pool)


def converges(pool: Pool) -> None:
    """Left alone, any pool comes to rest within its limits, on new code, and stays there."""
    active = pool.count(ACTIVE)
    pool.live_quietly(3600)
    limits = pool.limits
    spares = pool.count(SPARE)
    assert spares <= limits.most
    assert spares >= limits.fewest or pool.live >= limits.max_clients
    assert pool.live <= limits.max_clients
    assert pool.count(STARTING, DRAINING) == 0
    assert all(slot.generation == limits.generation for slot in pool.slots.values())
    assert not any(slot.outdated for slot in pool.slots.values())
    assert pool.count(ACTIVE) <= active
    forked, retired = pool.forked, len(pool.retired)
    pool.live_quietly(3600)
    assert (pool.forked, len(pool.retired)) == (forked, retired)


TestPoolLife = PoolLife.TestCase
TestPoolLife.settings = settings(max_examples=100, stateful_step_count=40)


@settings(max_examples=200)
@given(
    limits=limits_of_any_size(),
    states=st.lists(st.sampled_from([STARTING, SPARE, ACTIVE]), max_size=24),
)
def test_left_alone_a_pool_only_grows_or_only_shrinks(limits: PoolLimits, states: list[State]) -> None:
    states = states[: limits.max_clients]
    pool = Pool(limits, [Slot(index, state, 1, 0.0) for index, state in enumerate(states)])
    converges(pool)
    assert not (pool.forked and pool.retired)


@settings(max_examples=200)
@given(
    count=st.integers(1, 20),
    rollout=st.floats(0.0, 1.0),
    states=st.lists(st.sampled_from([SPARE, ACTIVE]), min_size=20, max_size=20),
)
def test_a_rollout_never_has_fewer_ready_workers_than_before(
    count: int, rollout: float, states: list[State]
) -> None:
    slots = [Slot(index, state, 1, 0.0) for index, state in enumerate(states[:count])]
    pool = Pool(replace(fixed(count, generation=2), rollout=rollout, capacity=3 * count), slots)
    before = pool.count(SPARE)
    while any(slot.generation == 1 for slot in pool.slots.values()):
        pool.settle()
        assert pool.count(SPARE, ACTIVE) >= count
        assert pool.count(SPARE) >= before
        for slot in pool.all(STARTING)[: 1 + pool.forked % 3]:
            pool.now += 0.001
            pool.set(slot.index, SPARE)
            pool.settle()
        pool.reap()
    pool.boot()
    pool.live_quietly(10)
    assert (pool.forked, pool.live) == (count, count)


@settings(max_examples=200)
@given(count=st.integers(1, 20), states=st.lists(st.sampled_from([SPARE, ACTIVE]), min_size=20, max_size=20))
def test_a_reload_never_has_fewer_ready_spares_than_before(count: int, states: list[State]) -> None:
    slots = [Slot(index, state, 1, 0.0) for index, state in enumerate(states[:count])]
    pool = Pool(fixed(count, generation=2), slots)
    before = fewest = pool.count(SPARE)
    while any(slot.generation == 1 for slot in pool.slots.values()):
        pool.settle()
        fewest = min(fewest, pool.count(SPARE))
        pool.boot()
        pool.reap()
    assert fewest == before
    assert pool.forked == count


# --- years --------------------------------------------------------------------------------------------------


class World(Pool):
    """A pool under load, on a clock that jumps from event to event.

    A worker that takes one of the last spares wakes the manager. One that turns spare does not: that is for
    the periodic check, which is simulated only where it could find something new.
    """

    BOOT_S, DRAIN_S = 0.2, 2.0

    def __init__(self, limits: PoolLimits, seed: int = 1) -> None:
        super().__init__(limits, now=0.0)
        self.random = random.Random(seed)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.due: set[float] = set()
        self.waiting = 0
        self.manage()

    def at(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), function))

    def manage_at(self, when: float) -> None:
        if when not in self.due:
            self.due.add(when)
            heapq.heappush(self.events, (when, next(self.order), self.manage))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, function = heapq.heappop(self.events)
            function()
        self.now = until

    def manage(self) -> None:
        self.due.discard(self.now)
        plan = self.settle()
        self.overcommit = plan.overcommit
        if plan.wake_at is not None:
            self.manage_at(plan.wake_at)

    def fork(self, slot: Slot) -> None:
        super().fork(slot)
        self.at(self.BOOT_S, lambda: self.start(slot))

    def retire(self, slot: Slot) -> None:
        super().retire(slot)
        self.at(self.DRAIN_S, lambda: self.drop(slot.index))

    def start(self, slot: Slot) -> None:
        if self.slots.get(slot.index) == slot:
            self.set(slot.index, SPARE)
            self.state = policy_state.booted(self.state, self.now)
            self.serve()
            self.manage_at(self.now)

    def arrive(self, requests: int) -> None:
        self.waiting += requests
        self.serve()

    def serve(self) -> None:
        if self.waiting:
            for slot in self.all(SPARE)[: self.waiting]:
                self.set(slot.index, ACTIVE)
                self.waiting -= 1
            if self.count(SPARE) < self.limits.min_spare:
                self.manage_at(self.now)

    def finish(self, requests: int) -> None:
        for slot in self.all(ACTIVE)[:requests]:
            self.set(slot.index, SPARE)
        self.serve()
        self.manage_at(self.now + self.limits.check_interval)

    def kill(self) -> None:
        self.drop(self.random.choice(list(self.slots)))
        self.manage_at(self.now)


DAY_S = 86_400.0


def test_thousands_of_workers_come_at_once_and_go_one_by_one_each_season() -> None:
    world = World(PoolLimits(50, 100, 3000, 1.0, 1, capacity=4096))
    for _ in range(3):
        world.run(182 * DAY_S)
        assert world.count(SPARE) <= 100
        world.arrive(2000)
        world.run(10)  # 2000 at a stroke come as 50 spares for each boot of 0.2 s
        assert world.waiting == 0
        assert 2050 <= world.live <= 2100
        world.run(182 * DAY_S)
        world.finish(2000)
    world.run(DAY_S)
    assert world.count(SPARE) == world.live == 100
    assert world.forked <= 50 + 3 * 2050
    assert world.now > 3 * 364 * DAY_S


def test_a_reload_of_a_thousand_busy_workers() -> None:
    limits = PoolLimits(10, 20, 1000, 1.0, 1, capacity=1100)
    world = World(limits)
    world.arrive(1000)
    world.run(60)
    assert (world.count(ACTIVE), world.waiting) == (1000, 0)
    assert world.overcommit
    world.limits = replace(limits, generation=2)
    world.manage_at(world.now)
    for _ in range(1000):
        world.run(1)
        world.arrive(1000 - world.count(ACTIVE) - world.waiting)
        if all(slot.generation == 2 for slot in world.slots.values()):
            break
    assert all(slot.generation == 2 for slot in world.slots.values())
    assert world.forked == 2000
    assert world.count(ACTIVE) == 1000


def test_ten_years_of_full_and_empty_days_and_accidents() -> None:
    world = World(PoolLimits(5, 10, 64, 1.0, 1, capacity=128), seed=7)
    arrived = killed = 0
    for day in range(0, 3650, 3):
        wanted = world.random.randint(0, 8) if day % 2 else world.random.randint(10, 80)
        change = wanted - world.count(ACTIVE) - world.waiting
        if change > 0:
            world.arrive(change)
            arrived += change
        else:
            given_up = min(-change, world.waiting)
            world.waiting -= given_up
            world.finish(-change - given_up)
        world.run(DAY_S)
        if world.random.random() < 0.5:
            world.kill()
            killed += 1
        world.run(2 * DAY_S)
        assert 5 <= world.count(SPARE) <= 10 or world.live == 64
        assert world.waiting == 0 or world.live == 64
        assert world.overcommit == (world.count(SPARE) == 0)
    assert killed > 500
    assert world.forked <= 10 + arrived + killed  # nothing is forked for nothing
    assert world.now >= 3650 * DAY_S


def test_a_pool_is_hopeless_once_so_many_attempts_have_failed_and_none_was_ever_ready() -> None:
    state, now = PolicyState(), 0.0
    for attempt in range(3):
        assert not is_hopeless([], state, 3), attempt
        for _ in range(4):  # a batch that fails together is one attempt
            state = boot_failed(state, now)
        now = state.not_before
    assert is_hopeless([], state, 3)
    assert not is_hopeless([], state, 0), "0: no limit"
    assert not is_hopeless([Slot(0, State.STARTING, 1, now)], state, 3), "that one may be ready"
    assert is_hopeless([Slot(0, State.DRAINING, 1, now)], state, 3)


def test_a_pool_with_a_worker_that_was_ready_is_never_hopeless() -> None:
    for begin in (booted(PolicyState(), 0.0), died_early(PolicyState(), 0.0)):
        state, now = begin, 1.0
        for _ in range(9):
            state = boot_failed(state, now)
            now = state.not_before
        assert not is_hopeless([], state, 3)


def test_a_system_that_refuses_processes_does_not_make_a_pool_hopeless() -> None:
    state, now = PolicyState(), 0.0
    for _ in range(9):
        state = fork_failed(state, now)
        now = state.not_before
    assert not is_hopeless([], state, 3)


# --- why ----------------------------------------------------------------------------------------------------


def why(slots: list[Slot], limits: PoolLimits = LIMITS, state: PolicyState | None = None) -> list[str]:
    plan = policy.plan(slots, limits, state or PolicyState(), 1000.0)
    return [f"{change:+} {why}" for change, why, _ in plan.decisions]


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (why(workers((5, SPARE), (9, ACTIVE))), []),
        (why(workers((4, SPARE))), ["+1 1 spare of 5 missing"]),
        (why(workers((2, SPARE)), state=PolicyState(batch=8)), ["+3 3 spares of 5 missing"]),
        (
            why(workers((2, SPARE)), state=PolicyState(failures=2)),
            ["+1 3 spares of 5 missing; one is tried at a time, because workers fail"],
        ),
        (
            why(workers((13, SPARE)), state=PolicyState(surplus_since=999.0)),
            ["-1 3 spares above the maximum of 10"],
        ),
        (
            why(
                workers((6, SPARE)),
                replace(LIMITS, max_spare=5, memory_is_short=True),
                PolicyState(surplus_since=999.0),
            ),
            ["-1 1 spare above the maximum of 5, because memory is short"],
        ),
        (why(workers((5, SPARE), (99, ACTIVE))), ["-4 4 workers above max_clients 100"]),
        (why(workers((5, SPARE)), fixed(5, generation=2)), ["+1 to replace 5 workers: generation 2"]),
        (
            why(
                workers((5, SPARE), (1, SPARE, 2)),
                fixed(5, generation=2),
                PolicyState(replacement=Replacement(0.0, 5)),
            ),
            ["-1 replaced: generation 2"],
        ),
        (
            why(
                workers((10, SPARE)),
                replace(fixed(10, generation=2), trial=Trial(0.1, 1)),
            ),
            ["+1 to replace 10 workers: a canary's share, 10% of generation 2"],
        ),
    ],
)
def test_each_change_has_a_reason(found: list[str], reasons: list[str]) -> None:
    assert found == reasons


def test_a_worker_that_is_recycled_is_named_so() -> None:
    pool = Pool(fixed(3), workers((3, SPARE)))
    pool.outdate(1)
    said = []
    for _ in range(3):
        plan = pool.plan()
        said += [f"{change:+} {why}" for change, why, _ in plan.decisions]
        pool.obey(plan)
        pool.boot()
    assert said == ["+1 to recycle 1 worker", "-1 recycled"]


@pytest.mark.parametrize(
    ("slots", "state", "held"),
    [
        (workers((5, SPARE)), PolicyState(), ""),
        (workers((4, SPARE)), PolicyState(), ""),
        (
            workers((2, SPARE), (98, ACTIVE)),
            PolicyState(),
            "spares are missing, but max_clients 100 is reached",
        ),
        (
            workers((100, ACTIVE)),
            PolicyState(),
            "spares are missing, but max_clients 100 is reached; active workers accept too",
        ),
        (
            workers((4, SPARE), (196, DRAINING)),
            PolicyState(),
            "spares are missing, but every slot of the scoreboard is in use: draining workers have to end",
        ),
        (
            workers((4, SPARE)),
            PolicyState(failures=1, not_before=1001.0),
            "spares are missing, but workers fail: the next one is tried later",
        ),
    ],
)
def test_a_pool_that_does_not_grow_says_why(slots: list[Slot], state: PolicyState, held: str) -> None:
    assert first(slots, state).held == held
