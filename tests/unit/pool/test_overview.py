"""What an operator is told of a pool: figures and sentences, of a snapshot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from prefork.pool.overview import Overview, explain, figures
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import PolicyState

STARTING, SPARE, ACTIVE, DRAINING = State.STARTING, State.SPARE, State.ACTIVE, State.DRAINING
LIMITS = PoolLimits(min_spare=2, max_spare=4, max_clients=8, check_interval=1.0, generation=3, capacity=80)


def pool(*states: State, generation: int = 3, **changes: Any) -> Overview:
    slots = [Slot(index, state, generation, float(index)) for index, state in enumerate(states)]
    pids = {slot.index: 100 + slot.index for slot in slots}
    made = Overview("as many as the policy wants", True, slots, pids, 0, LIMITS, PolicyState(), 1000.0)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("states", "missing", "surplus"),
    [
        ([SPARE, SPARE], 0, 0),
        ([SPARE, ACTIVE, ACTIVE], 1, 0),
        ([SPARE, STARTING], 1, 0),
        ([ACTIVE] * 8, 0, 0),
        ([ACTIVE] * 7 + [SPARE], 0, 0),
        ([ACTIVE] * 7, 1, 0),
        ([SPARE] * 6, 0, 2),
        ([SPARE] * 10, 0, 6),
        ([ACTIVE] * 10, 0, 2),
        ([DRAINING] * 9 + [SPARE] * 2, 0, 0),
    ],
)
def test_what_is_missing_and_what_is_too_much(states: list[State], missing: int, surplus: int) -> None:
    found = pool(*states)
    assert (found.missing, found.surplus) == (missing, surplus)


def test_a_pool_that_fits_says_that_nothing_happens() -> None:
    assert explain(pool(SPARE, SPARE, ACTIVE)) == [
        "3 workers, maximum 8: 0 starting, 2 spare, 1 active",
        "2 spare, 2 to 4 are wanted",
        "next: nothing; the pool is looked at again within 1.0 s",
    ]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (pool(SPARE), "1 spare, 2 to 4 are wanted: 1 missing"),
        (pool(SPARE, STARTING), "1 spare and 1 starting, 2 to 4 are wanted"),
        (
            pool(SPARE, DRAINING, SPARE),
            "2 workers, maximum 8: 0 starting, 2 spare, 0 active; 1 more",
        ),
        (pool(*[ACTIVE] * 8), "max_clients is reached: no worker is added before another one ends"),
        (pool(*[ACTIVE] * 10), "2 more than max_clients: spares retire at once"),
        (
            pool(*[SPARE] * 5, state=PolicyState(surplus_since=999.5)),
            "5 spare, 2 to 4 are wanted: 1 too many; one retires each 1 s if there are too many all that "
            "time, the next in 0.5 s",
        ),
        (
            pool(state=PolicyState(failures=3, not_before=1001.5)),
            "the last 3 attempts to start a",
        ),
        (
            pool(state=PolicyState(crashes=9, not_before=1001.5)),
            "the last 9 workers ended as soon as they were ready (the log says how): one is tried at a time "
            "until one lives for 1 s, the next one in 1.5 s",
        ),
        (pool(SPARE, SPARE, generation=2), "2 of them are to be replaced, one after the other"),
        (pool(SPARE, SPARE, generation=2), "next: 1 workers are forked"),
        (pool(*[SPARE] * 10), "next: worker 109, 108 drains"),
        (pool(forking=2), "next: 2 workers are being forked"),
        (pool(keeps=False, phase="none, until it listens"), "workers: none, until it listens"),
        (pool(SPARE, limits=replace(LIMITS, memory_is_short=True)), "memory is short: no more spares than"),
        (pool(*[DRAINING] * 80), "all 80 slots of the scoreboard are in use"),
    ],
)
def test_each_reason_has_a_sentence(found: Overview, line: str) -> None:
    assert any(said.startswith(line) for said in explain(found)), explain(found)


def test_the_figures_are_json() -> None:
    found = json.loads(json.dumps(figures(pool(SPARE, ACTIVE, STARTING))))
    assert found["workers"] == {"starting": 1, "spare": 1, "active": 1, "draining": 0}
    assert found["limits"]["max_clients"] == 8
    assert found["next"]["spawn"] == 0
    assert figures(pool(keeps=False))["next"] is None


@pytest.mark.parametrize("state", [PolicyState(failures=1), PolicyState(crashes=9)])
def test_a_pool_that_expects_no_worker_to_serve_fails(state: PolicyState) -> None:
    assert pool(state=state).is_failing
    assert figures(pool(state=state))["retry_in_s"] == 0.0
    assert not pool(state=PolicyState(crashes=1)).is_failing


def test_processes_that_drain_are_not_live() -> None:
    assert pool(SPARE, DRAINING, ACTIVE).live_pids == {100, 102}
