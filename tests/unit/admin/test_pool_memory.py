"""The memory of a pool, read a little at a time."""

from __future__ import annotations

import pytest

from prefork.admin.pool_memory import BUDGET_S, PoolMemory


class System:
    """Each process has its pid in bytes, and takes `cost_s` to be read."""

    def __init__(self, cost_s: float) -> None:
        self.cost_s = cost_s
        self.now = 0.0
        self.reads: list[int] = []
        self.hidden = False

    def read(self, pid: int) -> int | None:
        self.now += self.cost_s
        self.reads.append(pid)
        return None if self.hidden else pid

    def memory(self) -> PoolMemory:
        return PoolMemory(self.read, lambda: self.now)


def test_a_small_pool_is_read_whole() -> None:
    system = System(BUDGET_S / 10)
    assert system.memory().total([100, 200, 300]) == 600


def test_of_workers_that_have_all_been_replaced_the_mean_of_the_former_is_assumed() -> None:
    system = System(3 * BUDGET_S)
    memory = system.memory()
    assert memory.total([100]) == 100
    assert memory.total([200, 300]) == 200, "what was overspent is saved"
    assert system.reads == [100]
    assert memory.total([]) == 0


def test_of_a_large_pool_the_mean_of_some_is_assumed_until_all_are_read() -> None:
    system = System(BUDGET_S)
    memory = system.memory()
    assert memory.total([100, 300]) == 200
    assert memory.total([100, 300]) == 400
    assert memory.total([100, 300]) == 400
    assert system.reads == [100, 300, 100]


@pytest.mark.parametrize("cost_s", [BUDGET_S / 3, BUDGET_S, 10 * BUDGET_S])
def test_it_takes_no_more_than_its_budget(cost_s: float) -> None:
    system = System(cost_s)
    memory = system.memory()
    for _ in range(1000):
        memory.total(range(1, 300))
    assert system.now <= 1000 * BUDGET_S * 1.4


def test_workers_that_have_ended_count_no_more() -> None:
    memory = System(0.0).memory()
    assert memory.total([100, 200]) == 300
    assert memory.total([200, 400]) == 600


def test_what_the_system_does_not_tell_is_not_known() -> None:
    system = System(0.0)
    system.hidden = True
    assert system.memory().total([1, 2]) is None
    assert system.memory().total([]) is None
