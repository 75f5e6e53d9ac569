"""The spawner that forks, on a kernel that only pretends to; and a child process held by its descriptor."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefork.pool import spawner as spawner_module
from prefork.pool.spawner import ForkSpawner, Process


class FakeKernel:
    """Its forks give what `results` has, in order: a pid, 0 in the child, or an error."""

    def __init__(self) -> None:
        self.between: deque[Callable[[], object]] = deque()
        self.results: list[int | OSError] = []
        self.forks: list[tuple[int, ...]] = []

    def between_turns(self, function: Callable[[], object]) -> None:
        self.between.append(function)

    def fork(self, *, ignored: tuple[int, ...], is_tied: bool) -> int:
        assert is_tied, "a worker dies with its manager"
        self.forks.append(ignored)
        result = self.results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    def turn(self) -> None:
        while self.between:
            self.turn_once()

    def turn_once(self) -> None:
        for _ in range(len(self.between)):
            self.between.popleft()()


class Results:
    def __init__(self) -> None:
        self.given: list[tuple[int, Process | OSError]] = []

    def __call__(self, index: int, result: Process | OSError) -> None:
        self.given.append((index, result))


@pytest.fixture
def children() -> Iterator[Callable[[], int]]:
    """Makes real processes that wait to be killed."""
    pids: list[int] = []

    def make() -> int:
        pids.append(os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ))
        return pids[-1]

    yield make
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def became() -> list[int]:
    return []


@pytest.fixture
def spawner(kernel: FakeKernel, became: list[int]) -> ForkSpawner:
    fake: Any = kernel
    return ForkSpawner(fake, lambda: None, became.append)


def test_nothing_is_forked_in_the_middle_of_a_turn(
    kernel: FakeKernel, spawner: ForkSpawner, children: Callable[[], int]
) -> None:
    results = Results()
    kernel.results = [children(), children()]
    pids = kernel.results.copy()
    spawner.spawn(3, results)
    spawner.spawn(5, results)
    assert (kernel.forks, results.given) == ([], [])
    assert len(kernel.between) == 1, "one stop of the loop for all of them"
    kernel.turn()
    assert len(kernel.forks) == 2
    found = [(index, result.pid) for index, result in results.given if isinstance(result, Process)]
    assert found == [(3, pids[0]), (5, pids[1])]
    for _, result in results.given:
        assert isinstance(result, Process)
        result.close()


def test_workers_ignore_what_a_terminal_sends_to_the_whole_group(
    kernel: FakeKernel, spawner: ForkSpawner
) -> None:
    kernel.results = [0]
    spawner.spawn(0, Results())
    kernel.turn()
    assert kernel.forks == [(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)]


def test_a_child_becomes_the_worker_of_its_slot_and_does_nothing_of_its_parents(
    kernel: FakeKernel, spawner: ForkSpawner, became: list[int], children: Callable[[], int]
) -> None:
    results = Results()
    kernel.results = [children(), 0]
    for index in (7, 8, 9):
        spawner.spawn(index, results)
    kernel.turn()
    assert became == [8]
    assert results.given == []
    assert len(kernel.forks) == 2


def test_what_workers_share_is_prepared_before_the_first_fork(
    kernel: FakeKernel, children: Callable[[], int]
) -> None:
    prepared: list[int] = []
    fake: Any = kernel
    spawner = ForkSpawner(fake, lambda: prepared.append(len(kernel.forks)), lambda _index: None)
    kernel.results = [children(), children()]
    results = Results()
    spawner.spawn(0, results)
    spawner.spawn(1, results)
    kernel.turn()
    assert prepared == [0]
    for _, result in results.given:
        assert isinstance(result, Process)
        result.close()


def test_all_forks_are_made_before_the_first_response(
    kernel: FakeKernel, spawner: ForkSpawner, children: Callable[[], int]
) -> None:
    seen: list[int] = []

    def on_spawned(_index: int, result: Process | OSError) -> None:
        seen.append(len(kernel.forks))
        assert isinstance(result, Process)
        result.close()

    kernel.results = [children(), children()]
    spawner.spawn(0, on_spawned)
    spawner.spawn(1, on_spawned)
    kernel.turn()
    assert seen == [2, 2]


def test_when_one_fork_fails_the_rest_is_not_tried_and_every_request_has_its_response(
    kernel: FakeKernel, spawner: ForkSpawner, children: Callable[[], int]
) -> None:
    results = Results()
    error = BlockingIOError("no more processes")
    kernel.results = [children(), error]
    for index in range(3):
        spawner.spawn(index, results)
    kernel.turn()
    (first, process), *failed = results.given
    assert first == 0
    assert isinstance(process, Process)
    process.close()
    assert failed == [(1, error), (2, error)]
    assert len(kernel.forks) == 2


def test_a_child_without_a_descriptor_is_ended_at_once(
    kernel: FakeKernel,
    spawner: ForkSpawner,
    children: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_pid: int) -> int:
        raise error

    error = OSError(24, "Too many open files")
    monkeypatch.setattr(os, "pidfd_open", refuse)
    results = Results()
    pid = children()
    kernel.results = [pid]
    spawner.spawn(0, results)
    kernel.turn()
    assert results.given == [(0, error)]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_requests_that_are_cancelled_are_not_forked_and_have_no_result(
    kernel: FakeKernel, spawner: ForkSpawner
) -> None:
    results = Results()
    spawner.spawn(0, results)
    spawner.spawn(1, results)
    assert spawner.cancel() == [0, 1]
    assert spawner.cancel() == []
    kernel.turn()
    assert (kernel.forks, results.given) == ([], [])


def test_what_is_requested_after_a_cancel_is_forked_once(
    kernel: FakeKernel, spawner: ForkSpawner, children: Callable[[], int]
) -> None:
    results = Results()
    spawner.spawn(0, results)
    spawner.cancel()
    kernel.results = [children()]
    spawner.spawn(1, results)
    kernel.turn()
    ((index, process),) = results.given
    assert index == 1
    assert isinstance(process, Process)
    process.close()


def test_forks_that_take_long_leave_the_loop_a_turn_between_them(
    kernel: FakeKernel,
    spawner: ForkSpawner,
    children: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawner_module, "FORKING_S", -1.0)  # each is too long
    results = Results()
    kernel.results = [children(), children(), children()]
    for index in range(3):
        spawner.spawn(index, results)
    for made in (1, 2, 3):
        assert results.given == []
        kernel.turn_once()
        assert len(kernel.forks) == made
    assert [index for index, _ in results.given] == [0, 1, 2]
    for _, process in results.given:
        assert isinstance(process, Process)
        process.close()


def test_a_cancel_between_two_forks_delivers_the_first(
    kernel: FakeKernel,
    spawner: ForkSpawner,
    children: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawner_module, "FORKING_S", -1.0)
    results = Results()
    kernel.results = [children()]
    for index in range(3):
        spawner.spawn(index, results)
    kernel.turn_once()
    assert spawner.cancel() == [1, 2]
    ((index, process),) = results.given
    assert index == 0
    assert isinstance(process, Process)
    process.close()
    kernel.turn()
    assert (len(kernel.forks), len(results.given)) == (1, 1)


def test_a_process_is_signalled_and_waited_for(children: Callable[[], int]) -> None:
    process = Process(children())
    process.signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    process.signal(signal.SIGTERM)  # it has ended: nothing
    assert process.wait() is None, "its status was taken already, as by a program that waits for every child"
    process.close()
