"""What begins a refork and measures it, with a manager and processes of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefork.pool import memory
from prefork.pool.overview import Overview
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import PolicyState
from prefork.pool.reforker import LOOK_S, MEASURE_S, MOST_MEASURED, Reforker
from prefork.pool.reforking import FIRST_PAUSE_S
from prefork.pool.reload import End


class World:
    """Its workers have the pids 101, 102 ... `requests` is what each has served."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int = 3) -> None:
        self.now = 1000.0
        self.due: tuple[float, Callable[[], object]] | None = None
        self.requests = [0] * workers
        self.generations = [1] * workers
        self.outdated: set[int] = set()
        self.is_free = True
        self.begun: list[int] = []
        self.measured: list[int] = []
        self.private = 30
        monkeypatch.setattr(memory, "parts", self._parts)
        me: Any = self
        self.resources = me
        self.board = me
        self.reforker = Reforker(me, me, 100)

    # --- the loop

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Callable[[], object]) -> Any:
        self.due = (self.now + delay, function)
        return self

    def cancel(self) -> None:
        self.due = None

    # --- the manager

    def overview(self) -> Overview:
        slots = [
            Slot(index, State.SPARE, generation, 0.0, index in self.outdated)
            for index, generation in enumerate(self.generations)
        ]
        limits = PoolLimits(1, 9, 9, 1.0, max(self.generations), 20)
        pids = {slot.index: 101 + slot.index for slot in slots}
        return Overview("", True, slots, pids, 0, limits, PolicyState(), self.now)

    def refork(self, index: int, on_done: Callable[[End], object]) -> bool:
        if self.is_free:
            self.begun.append(index)
            self.on_done = on_done
        return self.is_free

    def read(self, index: int) -> dict[str, int]:
        return {"requests": self.requests[index]}

    def _parts(self, pid: int) -> tuple[int, int] | None:
        self.measured.append(pid)
        return 2 * self.private, self.private

    # --- what happens

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.due is not None
            self.now, function = self.due
            function()

    def end(self, failure: str = "") -> None:
        if not failure:
            self.generations = [max(self.generations) + 1] * len(self.generations)
        self.on_done(End(failure, max(self.generations), 1.0))

    @property
    def about(self) -> Any:
        return self.reforker.about()["refork"]


def test_before_it_is_time_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.requests = [99, 98, 97]
    world.look(20)
    assert (world.begun, world.measured) == ([], [])
    assert world.about == {"count": 0, "next_after": 100, "before": None, "now": None}


def test_it_begins_with_the_worker_that_has_served_most_and_shows_what_it_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    world.requests = [50, 120, 110]
    world.look()
    assert world.begun == [1]
    world.private, world.requests = 10, [1, 2, 3]
    world.end()
    world.look(2)
    assert world.about == {
        "count": 1,
        "next_after": 240,
        "before": {"workers": 3, "requests": 110, "pss": 60, "private": 30},
        "now": {"workers": 3, "requests": 2, "pss": 20, "private": 10},
    }
    world.measured.clear()
    world.look(int(MEASURE_S / LOOK_S))
    assert len(world.measured) == 3, "the memory is not looked at all the time"
    world.requests = [199, 240, 0]
    world.look()
    assert world.begun == [1, 1]
    world.private = 5
    world.end()
    world.look(2)
    assert (world.about["before"]["private"], world.about["now"]["private"]) == (30, 5)


def test_after_a_failure_it_waits_and_what_is_shown_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.requests = [100, 0, 0]
    world.look()
    world.end("no")
    world.look(int(FIRST_PAUSE_S / LOOK_S) - 1)
    assert world.begun == [0]
    assert world.about["before"] is None
    world.look()
    assert world.begun == [0, 0]


def test_it_waits_while_something_else_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.requests = [100, 0, 0]
    world.is_free = False
    world.look(3)
    world.is_free = True
    world.generations = [2, 1, 2]  # a reload goes on
    world.look()
    assert world.begun == []
    world.generations = [2, 2, 2]
    world.outdated = {0}  # it is being replaced
    world.look()
    assert world.begun == []
    world.outdated = set()
    world.look()
    assert world.begun == [0]


def test_a_reload_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.requests = [100, 0, 0]
    world.look()
    world.generations = [2, 2, 1]
    world.look()  # the refork itself is the next generation
    world.end()
    world.look()
    assert world.about["next_after"] == 200
    world.generations = [4, 4, 4]
    world.requests = [0, 0, 0]
    world.look()
    assert world.about == {"count": 0, "next_after": 100, "before": None, "now": None}


def test_of_many_workers_some_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, workers=100)
    world.requests[0] = 100
    world.look()
    assert len(set(world.measured)) == len(world.measured) == MOST_MEASURED
