"""The supervisor with a clock, a scoreboard, a spawner and processes of the test's own: nothing is forked."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable
from typing import Any

import pytest

from prefork._engine import STUCK
from prefork.config.checked import changed, check
from prefork.config.options import PreForkOptions
from prefork.kernel.run import BROKEN
from prefork.pool import supervisor as supervisor_module
from prefork.pool import watch
from prefork.pool.policy import State
from prefork.pool.policy_state import EARLY_S, FREE_CRASHES
from prefork.pool.spawner import NotBegun, Spawner
from prefork.pool.supervisor import Supervisor
from prefork.pool.watch import KILL_AFTER_S

EMPTY, STARTING, SPARE, ACTIVE, DRAINING = State


class Handle:
    def __init__(self, when: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when, self.function, self.args = when, function, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Its time passes only in `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.handles: list[Handle] = []
        self.readers: dict[int, Callable[[], object]] = {}

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> Handle:
        self.handles.append(Handle(when, function, args))
        return self.handles[-1]

    def call_later(self, delay: float, function: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self.now + delay, function, *args)

    def call_soon(self, function: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self.now, function, *args)

    def add_reader(self, fd: int, function: Callable[..., object], *args: Any) -> None:
        self.readers[fd] = lambda: function(*args)

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    @property
    def due(self) -> float:
        return min((handle.when for handle in self.handles if not handle.cancelled), default=math.inf)

    def advance(self, seconds: float = 0.0) -> None:
        """Lets time pass, and runs what is due, each at its time."""
        end = self.now + seconds
        while self.due <= end:
            self.now = max(self.now, self.due)
            (handle, *_) = (one for one in self.handles if not one.cancelled and one.when <= self.now)
            self.handles.remove(handle)
            handle.function(*handle.args)
        self.now = end


class FakeBoard:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = [EMPTY] * capacity
        self.published: dict[str, int] = {}
        self.records: dict[int, dict[str, Any]] = {}
        self.shown = [0] * capacity
        self.asking: list[int] = []

    def claim(self, index: int, _generation: int) -> None:
        assert self.slots[index] is EMPTY
        self.slots[index] = STARTING

    def clear(self, index: int) -> None:
        self.slots[index] = EMPTY

    def states(self) -> list[State]:
        return self.slots

    def asking_for_successors(self) -> list[int]:
        return self.asking

    def signs(self) -> list[int]:
        return self.shown.copy()

    def read(self, index: int) -> dict[str, Any] | None:
        return self.records.get(index)

    def publish(self, **fields: int) -> None:
        self.published |= fields


class FakeReports:
    def __init__(self) -> None:
        self.written: list[str] = []

    def read(self) -> list[str]:
        written, self.written = self.written, []
        return written


class FakeResources:
    def __init__(self, capacity: int) -> None:
        self.board = FakeBoard(capacity)
        self.overcommits = False
        self.reports = FakeReports()

    def overcommit(self, wanted: bool) -> None:
        self.overcommits = wanted


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = pid + 10000
        self.signals: list[int] = []
        self.status = 0
        self.closed = False

    def signal(self, signum: int) -> None:
        assert not self.closed
        self.signals.append(signum)

    def wait(self) -> int:
        return self.status

    def close(self) -> None:
        self.closed = True


class FakeSpawner(Spawner):
    """Keeps the requests until the test completes them."""

    hint = "none"

    def __init__(self) -> None:
        self.requests: list[tuple[int, Callable[[int, Any], object]]] = []

    def spawn(self, index: int, on_spawned: Callable[[int, Any], object]) -> None:
        self.requests.append((index, on_spawned))

    def cancel(self) -> list[int]:
        cancelled, self.requests = self.requests, []
        return [index for index, _ in cancelled]

    def try_next(self, source: object, loaded: Callable[[], object], ended: object) -> None: ...


class World:
    """A supervisor, and what the test does to it."""

    def __init__(self, **options: Any) -> None:
        self.options = check(PreForkOptions, {"graceful_timeout": 5.0, "boot_timeout": 2.0} | options)
        self.loop = FakeLoop()
        self.resources = FakeResources(2 * self.options.max_clients + 4)
        self.board = self.resources.board
        self.spawner = FakeSpawner()
        self.recorded: list[tuple[str, int]] = []
        self.emptied = 0
        self.gave_up: list[str] = []
        self.ended: list[tuple[int, int]] = []
        self.processes: dict[int, FakeProcess] = {}
        self.pids = 100
        loop: Any = self.loop
        resources: Any = self.resources
        self.supervisor = Supervisor(
            loop,
            self.options,
            resources,
            self.spawner,
            self._tell,
            self._emptied,
            self.gave_up.append,
            self.died,
        )

    def died(self, pid: int, status: int) -> None:
        self.ended.append((pid, status))

    def _tell(self, what: str, pid: int) -> None:
        self.recorded.append((what, pid))

    def _emptied(self) -> None:
        self.emptied += 1

    def spawn(self, state: State | None = SPARE) -> list[int]:
        """Completes every request with a new process, which then writes `state`. Returns their slots."""
        requests, self.spawner.requests = self.spawner.requests, []
        for index, on_spawned in requests:
            self.pids += 1
            process: Any = FakeProcess(self.pids)
            self.processes[index] = process
            on_spawned(index, process)
        if state is not None:
            for index, _ in requests:
                self.board.slots[index] = state
            self.supervisor.act()
        return [index for index, _ in requests]

    def fail(self, error: OSError) -> None:
        requests, self.spawner.requests = self.spawner.requests, []
        for index, on_spawned in requests:
            on_spawned(index, error)

    def write(self, index: int, state: State) -> None:
        self.board.slots[index] = state
        self.supervisor.act()

    def end(self, index: int, status: int = 0) -> None:
        """The process of that slot ends."""
        process = self.processes[index]
        process.status = status
        self.loop.readers[process.pidfd]()
        soon = self.loop.handles.pop()  # what came with it is handled before
        assert soon.when == self.loop.now
        soon.function(*soon.args)

    def signals(self) -> dict[int, list[int]]:
        return {index: process.signals for index, process in self.processes.items() if process.signals}


FIXED = {"start_servers": 2, "min_spare_servers": 2, "max_spare_servers": 2, "max_clients": 4}


@pytest.fixture
def world() -> World:
    """A pool of two spares."""
    world = World(**FIXED)
    world.supervisor.start()
    assert len(world.spawn()) == 2
    return world


# --- keeping the pool ---------------------------------------------------------------------------------------


def test_it_starts_as_many_as_it_is_told_and_tells_of_each() -> None:
    world = World(**FIXED)
    world.supervisor.start()
    assert [index for index, _ in world.spawner.requests] == [0, 1]
    assert (world.supervisor.pids, world.recorded) == ([], [])
    world.spawn(STARTING)
    assert world.supervisor.pids == [101, 102]
    assert world.recorded == [("forked", 101), ("forked", 102)]
    world.write(1, SPARE)
    world.write(1, ACTIVE)
    assert world.recorded[2:] == [("spare", 102)]


def test_the_manager_shows_what_it_is_for() -> None:
    world = World(**FIXED)
    world.supervisor.start()
    shown = world.board.published
    assert (shown["kept"], shown["generation"]) == (True, 1)
    assert (shown["min_spare"], shown["max_spare"], shown["max_clients"]) == (2, 2, 4)
    world.supervisor.pause()
    assert shown["kept"] is False
    world.spawn()
    world.supervisor.stop(graceful=True)
    assert shown["stopping"] is True


def test_it_plans_when_all_that_it_requested_has_come() -> None:
    world = World(**FIXED)
    world.supervisor.start()
    (first, response), second = world.spawner.requests
    process: Any = FakeProcess(101)
    world.spawner.requests = [second]
    response(first, process)
    world.board.slots[first] = ACTIVE
    world.supervisor.act()
    assert world.spawner.requests == [second], "one is on its way, and how it ends is not known"
    world.spawn(STARTING)
    assert len(world.spawner.requests) == 1


def test_a_taken_spare_is_replaced_and_a_surplus_retired(world: World) -> None:
    world.write(0, ACTIVE)
    (third,) = world.spawn()
    assert world.board.published["forked"] == 3
    world.write(0, SPARE)
    assert world.signals() == {}
    world.loop.advance(world.options.check_spares_interval * 2)
    assert world.signals() == {third: [signal.SIGTERM]}
    world.end(third)
    assert world.supervisor.pids == [101, 102]
    assert world.board.published["died"] == 1


def test_without_room_and_spares_the_active_accept(world: World) -> None:
    world.write(0, ACTIVE)
    world.write(1, ACTIVE)
    while world.spawner.requests:
        assert not world.resources.overcommits
        world.spawn(ACTIVE)
    assert len(world.processes) == 4
    assert world.resources.overcommits
    world.write(0, SPARE)
    assert not world.resources.overcommits


def test_it_looks_again_each_interval_though_nothing_calls(world: World) -> None:
    world.board.slots[0] = ACTIVE
    world.loop.advance(world.options.check_spares_interval)
    assert len(world.spawner.requests) == 1


def test_a_worker_that_ends_while_it_starts_is_told_twice(world: World) -> None:
    # Python may miss the first signal for as long as a startup blocks in the system.
    world.write(0, ACTIVE)
    (third,) = world.spawn(STARTING)
    world.supervisor.stop(graceful=True)
    once = {index: [signal.SIGTERM] for index in (0, 1, third)}
    assert world.signals() == once
    for _ in range(2):
        world.loop.advance(supervisor_module.TOLD_AGAIN_S)
        assert world.signals() == {**once, third: [signal.SIGTERM] * 2}


def test_a_process_that_has_ended_is_not_told_again(world: World) -> None:
    world.write(0, ACTIVE)
    (third,) = world.spawn(STARTING)
    world.supervisor.stop(graceful=True)
    world.end(third)
    world.loop.advance(supervisor_module.TOLD_AGAIN_S)
    assert world.signals()[third] == [signal.SIGTERM]


def test_a_restart_has_all_workers_drain_and_spawns_the_first_ones_anew(world: World) -> None:
    world.write(0, ACTIVE)
    (asked,) = [index for index, _ in world.spawner.requests]
    world.supervisor.restart(world.spawner.restart(None))
    assert world.signals() == {0: [signal.SIGTERM], 1: [signal.SIGTERM]}
    assert world.board.slots[asked] is not EMPTY, "its slot is taken anew"
    published = world.board.published
    # Workers that drain pass their connections on only in a pool that is kept.
    assert (published["kept"], published["generation"]) == (True, 2)
    new = world.spawn()
    assert len(new) == 2
    assert not {0, 1} & set(new)
    world.end(0)
    world.end(1)
    assert world.spawner.requests == []
    assert world.supervisor.pids == [103, 104]


def test_a_restart_forgets_what_has_failed_before() -> None:
    world = World(**FIXED, boot_failures=0)
    world.supervisor.start()
    for _ in range(4):
        for index in world.spawn(STARTING):
            world.end(index, status=1)
        world.loop.advance(10)
    world.supervisor.restart(world.spawner.restart(None))
    assert len(world.spawner.requests) == 2, "it waits for no pause"


def test_other_limits_are_published_and_followed_at_once(world: World) -> None:
    world.supervisor.change(changed(world.options, {"min_spare_servers": 3, "max_spare_servers": 3}))
    assert (world.board.published["min_spare"], world.board.published["max_clients"]) == (3, 4)
    world.spawn()
    assert len(world.supervisor.pids) == 3
    world.supervisor.change(changed(world.options, {"max_clients": 1}))
    assert world.signals() == {1: [signal.SIGTERM], 2: [signal.SIGTERM]}


def test_the_overview_is_what_the_workers_have_written_until_now(world: World) -> None:
    world.board.slots[0] = ACTIVE
    found = world.supervisor.overview()
    assert (found.keeps, found.count(SPARE), found.count(ACTIVE), found.missing) == (True, 1, 1, 1)
    assert found.live_pids == {101, 102}
    assert world.spawner.requests == [], "to look changes nothing"
    world.supervisor.pause()
    assert (world.supervisor.overview().keeps, world.supervisor.overview().live) == (False, 0)


def test_a_signal_is_sent_only_to_workers_that_handle_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "catches", lambda pid, signum: (pid, signum) == (101, 62))
    assert world.supervisor.send(62) == [102]
    assert world.supervisor.send(62, [101]) == []
    assert world.supervisor.send(63, [101]) == [101]
    assert world.signals() == {0: [62, 62]}


def test_replacing_spawns_the_next_generation_and_then_retires_the_last(world: World) -> None:
    world.supervisor.replace()
    assert world.board.published["generation"] == 2
    (third,) = world.spawn(STARTING)
    assert world.signals() == {}
    world.write(third, SPARE)
    assert world.signals() == {0: [signal.SIGTERM]}


def test_a_tried_worker_that_ends_before_its_generation_is_adopted_has_failed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The reload may still wait for the mold."""
    told: list[str] = []
    world.supervisor.try_next(world.spawner.spawn, told.append)
    (third,) = world.spawn()
    world.loop.advance()
    assert told == [""]
    world.end(third, -signal.SIGSEGV)
    world.loop.advance()
    assert told == ["", "worker 103 ended: killed by SIGSEGV"]
    assert caplog.messages == [], "the reload tells"


def test_a_worker_is_recycled_when_another_one_is_ready(world: World) -> None:
    first, second = world.processes
    world.loop.advance(0.5)
    assert world.supervisor.recycle([first]) == [first]
    assert world.supervisor.recycle([first]) == [], "it is known"
    world.spawn(STARTING)
    assert world.signals() == {}
    world.write(max(world.processes), SPARE)
    assert world.signals() == {first: [signal.SIGTERM]}
    world.end(first)
    assert not world.spawner.requests
    assert second in world.processes


def test_a_worker_that_is_let_go_leaves_the_pool_and_lives(world: World) -> None:
    first, second = world.processes
    world.loop.advance(0.5)
    told: list[Any] = []
    process: Any = world.supervisor.end_by(first, told.append)
    assert process.pid == world.processes[first].pid
    assert world.supervisor.end_by(first, told.append) is None, "it is known"
    assert world.supervisor.end_by(3, told.append) is None, "there is none"
    world.loop.advance()
    world.spawn(STARTING)
    assert told == []
    world.write(max(world.processes), SPARE)
    assert told == [process]
    assert world.signals() == {}
    world.write(first, SPARE)
    assert world.supervisor.overview().count(DRAINING) == 1, "whatever it writes"
    assert world.supervisor.let_go(first, process)
    assert not process.closed
    assert process.pid not in world.supervisor.pids
    assert process.pidfd not in world.loop.readers
    assert world.board.slots[first] is EMPTY
    assert world.recorded[-1] == ("died", process.pid)
    assert world.ended == [(process.pid, 0)]
    assert not world.supervisor.let_go(first, process)
    world.loop.advance(10)
    assert (world.spawner.requests, second in world.processes) == ([], True)


def test_one_that_ends_before_it_is_let_go_is_replaced_as_any(world: World) -> None:
    first, _ = world.processes
    told: list[Any] = []
    process: Any = world.supervisor.end_by(first, told.append)
    world.end(first, -signal.SIGKILL)
    assert not world.supervisor.let_go(first, process)
    world.loop.advance(1)
    world.spawn()
    world.loop.advance(10)
    assert told == []
    assert len(world.supervisor.pids) == 2


def test_a_worker_that_asks_for_a_successor_serves_until_there_is_one(world: World) -> None:
    first, _ = world.processes
    world.loop.advance(0.5)
    world.board.asking = [first, 3]  # 3 is of no worker: what is on the scoreboard decides no more than that
    world.supervisor.act()
    (third,) = world.spawn(STARTING)
    assert world.signals() == {}
    world.board.asking = [first]
    world.write(third, SPARE)
    assert world.signals() == {first: [signal.SIGTERM]}
    assert not world.spawner.requests


def test_no_surplus_spare_is_kept_while_memory_is_short() -> None:
    world = World(**FIXED | {"start_servers": 4, "max_spare_servers": 4, "max_clients": 8})
    world.supervisor.start()
    assert len(world.spawn()) == 4
    world.loop.advance(10)
    assert world.signals() == {}
    world.supervisor.keep_few_spares(True)
    world.loop.advance(10)
    assert len(world.signals()) == 2
    world.supervisor.keep_few_spares(False)
    assert not world.spawner.requests, "there are as many as there must be"


# --- what cannot be spawned ---------------------------------------------------------------------------------


def test_a_failed_spawn_is_said_once_and_tried_again_with_pauses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    error = BlockingIOError(11, "Resource temporarily unavailable")
    world.end(0, -signal.SIGKILL)
    for _ in range(3):
        assert len(world.spawner.requests) == 1
        world.fail(error)
        assert world.spawner.requests == []
        assert world.board.slots[0] is EMPTY
        world.loop.advance(1.0)
    lines = [record.message for record in caplog.records if "cannot spawn" in record.message]
    assert len(lines) == 1
    assert "Resource temporarily unavailable; going on with 1" in lines[0]
    world.spawn()
    assert "workers are spawned again" in caplog.text
    assert len(world.supervisor.pids) == 2


def test_workers_that_end_before_they_begin_are_failed_starts() -> None:
    world = World(**FIXED, boot_failures=3)
    world.supervisor.start()
    for attempt in range(3):
        assert world.gave_up == [], attempt
        assert world.supervisor.may_spawn
        world.fail(NotBegun(f"the mold has ended, attempt {attempt}"))
        world.loop.advance(1.0)
    assert world.gave_up == ["the mold has ended, attempt 0"]
    assert not world.supervisor.may_spawn
    assert world.spawner.requests == []
    assert world.board.published["boot_failed"] >= 3


def test_what_the_system_refuses_is_no_failed_start() -> None:
    world = World(**FIXED, boot_failures=3)
    world.supervisor.start()
    for _ in range(9):
        world.fail(BlockingIOError(11, "Resource temporarily unavailable"))
        world.loop.advance(30.0)
    assert world.gave_up == []
    assert world.board.published["boot_failed"] == 0


def test_a_pool_that_has_served_is_not_given_up_by_starts_that_fail(world: World) -> None:
    world.end(0, -signal.SIGKILL)
    for _ in range(9):
        world.fail(NotBegun("the mold has ended"))
        world.loop.advance(30.0)
    assert world.gave_up == []
    assert len(world.spawner.requests) == 1


# --- ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status", "line"),
    [
        (STARTING, 3, "worker 101 ended before it was ready (exit status 3); trying again"),
        (SPARE, -signal.SIGSEGV, "worker 101 ended: killed by SIGSEGV"),
        (ACTIVE, 0, "worker 101 ended: exit status 0"),
        (DRAINING, 5, "worker 101 ended: exit status 5"),
        (DRAINING, 0, None),
    ],
)
def test_what_an_end_means_is_in_the_log(
    caplog: pytest.LogCaptureFixture, state: State, status: int, line: str | None
) -> None:
    world = World(**FIXED)
    world.supervisor.start()
    world.spawn(STARTING)
    world.board.slots[0] = state
    world.end(0, status)
    assert [record.message for record in caplog.records] == ([line] if line else [])
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    assert world.recorded[-1] == ("died", 101)
    assert world.processes[0].closed


UNNAMED = dict.fromkeys(("method", "path", "request_started"))


def slow(world: World, in_flight: int) -> dict[str, Any]:
    """What a worker writes with a request in flight that has taken 3 seconds."""
    since = world.loop.now - 3.0
    return {"in_flight": in_flight, "request_started": since, "method": "GET", "path": "/slow"}


@pytest.mark.parametrize(
    ("in_flight", "is_named", "said"),
    [
        (1, True, "in GET /slow for 3.0 s"),
        (1, False, "in a request"),
        (3, True, "with 3 requests in flight, among them GET /slow for 3.0 s"),
        (9, False, "with 9 requests in flight"),
    ],
)
def test_a_worker_that_was_stuck_is_named_with_its_requests(
    world: World, caplog: pytest.LogCaptureFixture, in_flight: int, is_named: bool, said: str
) -> None:
    world.board.records[0] = slow(world, in_flight)
    if not is_named:
        world.board.records[0] |= UNNAMED
    world.end(0, STUCK)
    assert [record.message for record in caplog.records] == [f"worker 101 was stuck {said}: replaced"]


def test_one_that_ends_so_without_a_request_was_not_stuck(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.board.records[0] = slow(world, 0) | UNNAMED
    world.end(0, STUCK)
    assert [record.message for record in caplog.records] == [f"worker 101 ended: exit status {STUCK}"]


def test_one_that_fails_to_start_is_replaced_after_a_pause() -> None:
    world = World(**FIXED)
    world.supervisor.start()
    world.spawn(STARTING)
    world.write(1, SPARE)
    world.end(0, 4)
    assert not world.spawner.requests
    world.loop.advance(0.2)
    assert len(world.spawner.requests) == 1


@pytest.mark.parametrize(
    ("state", "status", "brakes"),
    [
        (SPARE, 4, True),
        (ACTIVE, -signal.SIGSEGV, True),
        (ACTIVE, 0, True),
        (DRAINING, BROKEN, True),
        (DRAINING, 0, True),
        (SPARE, -signal.SIGKILL, False),
    ],
)
def test_workers_that_end_as_soon_as_they_are_ready_are_replaced_at_once_and_then_with_pauses(
    world: World, caplog: pytest.LogCaptureFixture, state: State, status: int, brakes: bool
) -> None:
    latest = 0
    for _ in range(FREE_CRASHES):
        world.board.slots[latest] = state
        world.end(latest, status)
        (latest,) = world.spawn()
    world.board.slots[latest] = state
    world.end(latest, status)
    assert bool(world.spawner.requests) is not brakes
    lines = [record.message for record in caplog.records if "as soon as they were ready" in record.message]
    assert len(lines) == brakes
    if not brakes:
        return
    assert lines[0].startswith("the last 4 workers ended as soon as they were ready: going on with 1")
    assert world.resources.overcommits is False, "another one is spare"
    for pause_s in (0.1, 0.2, 0.4):
        world.loop.advance(pause_s - 0.01)
        assert not world.spawner.requests
        world.loop.advance(0.02)
        (latest,) = world.spawn()
        world.board.slots[latest] = state
        world.end(latest, status)
    world.loop.advance(0.81)
    world.spawn()
    world.loop.advance(1.1)
    assert "a worker lives again" in caplog.text
    assert len([record for record in caplog.records if "as soon as" in record.message]) == 1
    assert len(world.supervisor.pids) == 2


def test_one_that_has_lived_for_a_while_is_replaced_at_once(world: World) -> None:
    for _ in range(FREE_CRASHES * 2):
        world.loop.advance(EARLY_S)
        world.end(max(world.supervisor.workers, key=lambda worker: worker.since).index, 4)
        world.spawn()
        assert len(world.supervisor.pids) == 2


def test_one_that_does_not_start_in_time_is_killed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.write(0, ACTIVE)
    (third,) = world.spawn(STARTING)
    world.loop.advance(1.9)
    assert world.signals() == {}
    world.loop.advance(0.2 + world.options.check_spares_interval)
    assert world.signals() == {third: [signal.SIGKILL]}
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "killing worker 103: it did not start within boot_timeout (2 s)")
    ]
    world.end(third, -signal.SIGKILL)
    assert len(caplog.records) == 1, "that was expected"
    world.loop.advance(1.0)
    assert world.board.published["boot_failed"] == 1


@pytest.mark.parametrize("signalled", [True, False])
def test_one_that_does_not_end_in_time_is_killed_once(
    world: World, caplog: pytest.LogCaptureFixture, signalled: bool
) -> None:
    if signalled:
        world.supervisor.pause()
    else:
        world.write(0, DRAINING)
    begin = [signal.SIGTERM] if signalled else []
    world.loop.advance(5.0 + KILL_AFTER_S - 0.1)
    assert world.processes[0].signals == begin
    world.loop.advance(0.1)
    assert world.processes[0].signals == [*begin, signal.SIGKILL]
    assert (logging.WARNING, "killing worker 101: it did not end within graceful_timeout (5 s)") in [
        (record.levelno, record.message) for record in caplog.records
    ]
    world.loop.advance(60.0)
    assert world.processes[0].signals == [*begin, signal.SIGKILL]


def test_its_time_runs_also_while_another_is_on_its_way(world: World) -> None:
    world.write(0, ACTIVE)
    world.supervisor.act()
    assert world.spawner.requests, "no plan is made until it has come"
    world.supervisor.pause()
    world.loop.advance(5.0 + KILL_AFTER_S)
    assert world.signals() == {index: [signal.SIGTERM, signal.SIGKILL] for index in (0, 1)}


# --- pausing and ending -------------------------------------------------------------------------------------


def stand_still(world: World, slot: int, seconds: float) -> None:
    """Let a worker have a request, and show nothing for so long."""
    request = {"method": "GET", "path": "/x", "request_started": world.loop.now}
    world.board.records[slot] = {"in_flight": 1} | request
    world.board.shown[slot] = 5
    world.loop.advance(seconds)


def test_one_that_stands_still_is_reported_once_and_is_no_spare(caplog: pytest.LogCaptureFixture) -> None:
    world = World(**FIXED)
    world.supervisor.start()
    first, _ = world.spawn()
    stand_still(world, first, 30.0)
    lines = [record.message for record in caplog.records]
    assert lines == [
        f"worker {world.processes[first].pid} stands still with GET /x for 5.0 s: "
        "it is stopped, or waits for a disk"
    ]
    assert world.signals() == {}, "without a request timeout it is left alone"
    assert len(world.spawner.requests) == 1, "another takes its place"


def test_one_that_stands_still_past_the_request_timeout_is_killed_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(**FIXED, request_timeout=10.0)
    world.supervisor.start()
    first, second = world.spawn()
    stand_still(world, first, 12.0)
    assert world.signals() == {}
    world.loop.advance(3.0)
    assert world.signals() == {first: [signal.SIGKILL]}
    assert "it stands still for longer than request_timeout (10 s)" in caplog.text
    world.loop.advance(20.0)
    assert world.signals() == {first: [signal.SIGKILL]}
    assert len(world.spawner.requests) == 1
    world.end(first, -signal.SIGKILL)
    assert world.supervisor.pids == [world.processes[second].pid]


def test_one_without_a_guard_is_slow_unless_the_system_has_stopped_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(start_servers=1, min_spare_servers=1, max_spare_servers=1, max_clients=1)
    world.supervisor.start()
    (only,) = world.spawn()
    monkeypatch.setattr(watch, "is_stopped", lambda _pid: False)
    stand_still(world, only, 30.0)
    assert caplog.text == ""
    monkeypatch.setattr(watch, "is_stopped", lambda pid: pid == world.processes[only].pid)
    world.loop.advance(10.0)
    assert "stands still with GET /x" in caplog.text


def test_a_paused_pool_spawns_none_until_it_starts_again(world: World) -> None:
    world.write(0, ACTIVE)
    assert len(world.spawner.requests) == 1
    world.supervisor.pause()
    assert world.spawner.requests == [], "the request is withdrawn"
    assert world.board.slots[2] is EMPTY
    assert world.signals() == {0: [signal.SIGTERM], 1: [signal.SIGTERM]}
    world.end(0)
    world.end(1)
    world.loop.advance(60.0)
    assert world.spawner.requests == []
    assert world.loop.due == math.inf, "nothing is left to wait for"
    world.supervisor.start()
    assert len(world.spawner.requests) == 2


@pytest.mark.parametrize("graceful", [True, False])
def test_a_stopped_pool_is_emptied_once(world: World, graceful: bool) -> None:
    world.supervisor.stop(graceful=graceful)
    signum = signal.SIGTERM if graceful else signal.SIGKILL
    assert world.signals() == {0: [signum], 1: [signum]}
    world.loop.advance()
    world.end(0, -signum)
    assert world.emptied == 0
    world.end(1, -signum)
    assert world.emptied == 1
    world.loop.advance(60.0)
    world.supervisor.act()
    assert world.emptied == 1
    assert world.loop.readers == {}
    assert world.supervisor.pids == []


def test_a_pool_without_workers_is_emptied_in_the_next_turn() -> None:
    world = World(**FIXED)
    world.supervisor.start()
    world.supervisor.stop(graceful=True)
    assert world.emptied == 0
    world.loop.advance()
    assert world.emptied == 1


def test_a_second_stop_may_be_harder_and_a_gentle_one_says_nothing_twice(world: World) -> None:
    world.supervisor.stop(graceful=True)
    world.supervisor.stop(graceful=True)
    assert world.signals() == {0: [signal.SIGTERM], 1: [signal.SIGTERM]}
    world.supervisor.stop(graceful=False)
    assert world.signals() == {index: [signal.SIGTERM, signal.SIGKILL] for index in (0, 1)}


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_a_worker_that_was_on_its_way_ends_as_the_others(world: World, how: str) -> None:
    """A spawner cannot take back what another process is making for it."""
    world.spawner.cancel = list  # type: ignore[method-assign]
    world.write(0, ACTIVE)
    world.supervisor.pause() if how == "pause" else world.supervisor.stop(graceful=True)
    for index in (0, 1):
        world.end(index)
    assert world.emptied == 0
    (late,) = world.spawn(None)
    assert world.signals()[late] == [signal.SIGTERM]
    world.end(late)
    assert world.emptied == (how == "stop")


def test_what_was_on_its_way_and_does_not_come_is_not_waited_for(world: World) -> None:
    world.spawner.cancel = list  # type: ignore[method-assign]
    world.write(0, ACTIVE)
    world.supervisor.stop(graceful=True)
    for index in (0, 1):
        world.end(index)
    world.fail(OSError(11, "no"))
    assert world.emptied == 1


def test_kill_ends_all_and_waits_and_asks_nothing_later(world: World) -> None:
    world.write(0, ACTIVE)
    world.supervisor.kill()
    assert world.signals() == {0: [signal.SIGKILL], 1: [signal.SIGKILL]}
    assert all(process.closed for process in world.processes.values())
    assert world.spawner.requests == []
    world.loop.advance(60.0)
    world.supervisor.act()
    assert world.emptied == 0


def test_a_worker_closes_the_descriptors_of_its_siblings(world: World) -> None:
    world.supervisor.discard()
    assert all(process.closed for process in world.processes.values())
    assert world.signals() == {}


# --- what was decided ---------------------------------------------------------------------------------------


def decided(world: World) -> list[tuple[int, str]]:
    return [(made["change"], made["why"]) for made in world.supervisor.decisions]


def live(world: World) -> int:
    slots = world.supervisor.overview().slots
    return sum(slot.state in (STARTING, SPARE, ACTIVE) for slot in slots)


def test_it_keeps_what_was_decided_and_why(world: World) -> None:
    world.write(0, ACTIVE)
    world.spawn()
    world.write(0, SPARE)
    world.loop.advance(world.options.check_spares_interval * 2)
    assert decided(world) == [
        (2, "the pool begins: start_servers 2"),
        (1, "1 spare of 2 missing"),
        (-1, "1 spare above the maximum of 2"),
    ]
    ages = [made["age_s"] for made in world.supervisor.decisions]
    assert ages == sorted(ages, reverse=True)
    assert ages[-1] <= world.options.check_spares_interval


def test_the_changes_add_up_to_the_workers_whatever_happens(world: World) -> None:
    def check() -> None:
        assert sum(change for change, _ in decided(world)) == live(world), decided(world)

    world.end(0, -signal.SIGSEGV)
    check()
    world.fail(OSError(11, "Resource temporarily unavailable"))
    check()
    world.loop.advance(1.0)
    third = world.spawn(STARTING)
    check()
    world.loop.advance(3.0)  # boot_timeout
    check()
    world.end(third[0], -signal.SIGKILL)
    world.loop.advance(10.0)
    world.spawn()
    check()
    world.supervisor.replace()
    for _ in range(8):
        world.loop.advance(1.0)
        world.spawn()
        check()
    world.supervisor.keep_few_spares(True)
    world.supervisor.change(changed(world.options, {"max_clients": 1}))
    check()
    world.supervisor.pause()
    check()
    said = " | ".join(why for _, why in decided(world))
    for why in (
        "worker 101 ended: killed by SIGSEGV",
        "not spawned: Resource temporarily unavailable",
        "did not start within boot_timeout",
        "generation 2 replaces every worker",
        "replaced: generation 2",
        "memory is short: no more than 2 spares",
        "new limits: 2 to 2 spares, max_clients 1",
        "above max_clients 1",
        "the server stops listening",
    ):
        assert why in said


def test_a_pool_that_cannot_grow_says_so_once(world: World) -> None:
    for _ in range(6):
        world.spawn(ACTIVE)
        for index in world.processes:
            world.write(index, ACTIVE)
    for _ in range(100):
        world.supervisor.act()
    assert [why for change, why in decided(world) if not change] == [
        "spares are missing, but max_clients 4 is reached",
        "spares are missing, but max_clients 4 is reached; active workers accept too",
    ]


def test_one_that_is_killed_is_one_less_with_a_reason() -> None:
    world = World(**FIXED, request_timeout=10.0)
    world.supervisor.start()
    first, _ = world.spawn()
    stand_still(world, first, 20.0)
    world.end(first, -signal.SIGKILL)
    assert (-1, "worker 101 is killed: it stood still for longer than request_timeout") in decided(world)
    assert sum(change for change, _ in decided(world)) == live(world)
