"""The line that the service manager shows of a pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from prefork._engine import Scoreboard
from prefork.pool.overview import Overview
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import PolicyState
from prefork.pool.status_line import StatusLine

LIMITS = PoolLimits(min_spare=2, max_spare=4, max_clients=16, check_interval=1.0, generation=1, capacity=8)
STATES = [State.SPARE] * 5 + [State.ACTIVE] * 3
POOL = Overview(
    "as many as the policy wants",
    True,
    [Slot(index, state, 1, 0.0) for index, state in enumerate(STATES)],
    {index: 100 + index for index in range(8)},
    0,
    LIMITS,
    PolicyState(),
    1000.0,
)


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    with closing(Scoreboard.create(8)) as made:
        yield made


def test_it_has_spares_active_workers_and_the_rate_since_the_line_before(board: Scoreboard) -> None:
    line = StatusLine(board)
    assert line.of(POOL) == "5 spare, 3 active of 16; 0 requests/s"
    board.publish(retired_requests=600)
    assert line.of(replace(POOL, now=1005.0)) == "5 spare, 3 active of 16; 120 requests/s"
    board.publish(retired_requests=0)  # a worker can set its numbers back
    assert line.of(replace(POOL, now=1010.0)) == "5 spare, 3 active of 16; 0 requests/s"


def test_a_pool_that_does_not_keep_its_workers_says_so(board: Scoreboard) -> None:
    slots = [Slot(0, State.DRAINING, 1, 0.0)]
    pool = replace(POOL, keeps=False, phase="none any more: they finish, or are killed", slots=slots)
    expected = "0 spare, 0 active of 16, 1 draining; none any more: they finish, or are killed"
    assert StatusLine(board).of(pool) == expected
