"""What looks at the memory of workers, with a clock, a supervisor and processes of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import PreForkOptions
from prefork.pool import memory, recycler
from prefork.pool.memory import Pressure, PressureFiles
from prefork.pool.policy import State
from prefork.pool.recycler import LOOK_S, Recycler
from prefork.pool.workers import Worker

MIB = 1 << 20


class World:
    """A recycler, and all that it looks at: workers with the pids 101, 102 ..., a minute old."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int = 2, **options: Any) -> None:
        self.now = 1000.0
        self.due: tuple[float, Callable[[], object]] | None = None
        self.workers = [
            Worker(index, 1, self.now - 60, 101 + index, State.SPARE, self.now - 59)
            for index in range(workers)
        ]
        self.resident = {worker.pid: 10 for worker in self.workers}
        self.exact: dict[int | None, int | None] = {}
        self.asked: list[int] = []
        self.recycled: list[int] = []
        self.few: list[bool] = []
        self.pressure = Pressure(0.0, 0)
        self.spent_s = 0.0
        monkeypatch.setattr(memory, "resident", self._resident)
        monkeypatch.setattr(memory, "proportional", self._exact)
        monkeypatch.setattr(PressureFiles, "read", lambda _self: self.pressure)
        monkeypatch.setattr(recycler, "is_stopped", lambda _pid: False)
        monkeypatch.setattr(recycler, "perf_counter", lambda: self.spent_s)
        loop: Any = self
        supervisor: Any = self
        self.recycler = Recycler(loop, check(PreForkOptions, options), supervisor)

    # --- the loop

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Callable[[], object]) -> Any:
        self.due = (self.now + delay, function)
        return self

    def cancel(self) -> None:
        self.due = None

    # --- the supervisor

    def recycle(self, indexes: list[int]) -> None:
        self.recycled += indexes
        for index in indexes:
            self.workers[index].outdated = True

    def keep_few_spares(self, yes: bool) -> None:
        self.few.append(yes)

    # --- the system

    def _resident(self, pid: int) -> int | None:
        self.asked.append(pid)
        self.spent_s += 0.002
        size = self.resident.get(pid)
        return None if size is None else size * MIB

    def _exact(self, pid: int) -> int | None:
        size = self.exact.get(pid, self.resident[pid])
        return None if size is None else size * MIB

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.due is not None
            self.now, function = self.due
            function()


def test_without_limits_no_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.look(3)
    assert (world.asked, world.recycled, world.few) == ([], [], [False] * 3)
    assert world.now == 1000 + 3 * LOOK_S


def test_a_worker_that_is_too_large_is_replaced_once_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(monkeypatch, max_memory="300m")
    world.resident[102] = 312
    world.look(3)
    assert world.recycled == [1]
    assert [one.message for one in caplog.records] == [
        "worker 102 uses 312 MiB (max_memory 300 MiB): replacing it"
    ]


def test_what_a_worker_shares_counts_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_memory="300m")
    world.resident[102], world.exact[102] = 400, 120
    world.look(3)
    assert world.recycled == []


def test_a_system_that_does_not_tell_the_part_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch, max_pool_memory="1g")
    world.exact = {101: None, 102: None}
    world.look(3)
    assert [one.message.split(":")[0] for one in caplog.records] == [
        "the memory that workers share is counted for each of them"
    ]


def test_a_worker_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_memory="5m")
    world.resident.clear()
    world.look(2)
    assert world.recycled == []


def test_a_look_measures_as_many_as_it_has_time_for_and_all_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, workers=8, max_memory="300m")
    world.look()
    assert len(world.asked) == 3
    assert world.due is not None
    assert world.due[0] == pytest.approx(world.now + LOOK_S)
    world.look(4)
    assert set(world.asked) == set(world.resident)
    assert max(map(world.asked.count, world.asked)) == 2


def test_a_pool_that_is_too_large_keeps_few_spares_until_it_is_smaller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(monkeypatch, max_pool_memory="1000m")
    world.resident = {101: 300, 102: 800}
    world.look(2)
    world.resident = {101: 300, 102: 300}
    world.look(2)
    assert world.few == [True, True, False, False]
    assert [one.message for one in caplog.records] == [
        "the workers use 1100 MiB (max_pool_memory 1000 MiB): no more spares than min_spare are kept",
        "the workers use 1100 MiB (max_pool_memory 1000 MiB): replacing worker 102, the largest with 800 MiB",
        "the workers use 600 MiB again (max_pool_memory 1000 MiB)",
    ]


def test_a_limit_that_new_workers_reach_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch, workers=1, max_memory="300m")
    world.resident[101] = 400
    world.workers[0].since = world.now - 9
    world.look()
    (line,) = [one.message for one in caplog.records]
    assert line.startswith("workers reach their limit of memory as soon as 10 s after their start")
    assert line.endswith("before it is 20 s old")


def test_memory_that_is_short_has_a_line_when_it_begins_and_one_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch)
    world.look()
    world.pressure = Pressure(22.5, 3)
    world.look(5)
    world.pressure = Pressure(0.5, 3)
    world.look(20)
    assert world.few[:2] == [False, True]
    assert world.few[-1] is False
    assert [one.message for one in caplog.records] == [
        "memory is short (22.5 % of the time is lost to it, the cgroup has reached memory.high 3 times): "
        "no more spares than min_spare are kept",
        "memory is not short any more (0.5 % of the time is lost to it), after 14 s",
    ]


@pytest.mark.parametrize(("given", "lines"), [({}, 0), ({"memory_pressure": "5%"}, 1)])
def test_a_system_without_pressure_is_named_if_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: dict[str, Any], lines: int
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(
        World, "pressure", property(lambda _: Pressure(None, None), lambda *_: None), raising=False
    )
    world = World(monkeypatch, **given)
    world.look(3)
    assert len(caplog.records) == lines


def test_it_can_be_turned_off_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, memory_pressure=0)
    world.pressure = Pressure(90.0, 1)
    world.look(2)
    assert world.few == [False, False]
    world.recycler.close()
    assert world.due is None
