"""The manager's side of a mold: what it says is checked, and nothing that it has forked is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from prefork.pool import mold_process
from prefork.pool.mold import Word, encode
from prefork.pool.mold_process import MoldProcess, Passed
from prefork.pool.spawner import MoldEnded, NotBegun, Process
from support.waiting import wait_until


def sleeper() -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)


class FakeKernel:
    """It forks at once, and the mold is a process that sleeps."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def between_turns(self, function: Callable[[], object]) -> None:
        function()

    def fork(self, *, is_tied: bool) -> int:
        assert is_tied
        return sleeper()


class Mold:
    """A mold, and what its requests and its end have come to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = FakeKernel()
        make = socket.socketpair

        def keep(*kind: int) -> tuple[socket.socket, socket.socket]:
            here, there = make(*kind)
            self.other_end = there.dup()
            return here, there

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", keep)
            self._begin()

    def _begin(self) -> None:
        self.results: list[tuple[int, Process | OSError]] = []
        self.ends: list[MoldEnded] = []
        self.process = MoldProcess(cast(Any, self.kernel), lambda _: None, 60.0, lambda: None, self._ended)
        self.process.begin()
        self.pid = self.process.pids[0]

    def _ended(self, end: MoldEnded) -> None:
        self.ends.append(end)
        self.process.fail_requests(end)

    def say(self, word: Word, *values: object, sender: int = 0, passed: tuple[int, ...] = ()) -> None:
        with contextlib.closing(Passed([*passed])) as descriptors:
            self.process._take(encode(word, *values), sender, descriptors)

    def ask(self, index: int) -> None:
        self.process.spawn(index, lambda slot, result: self.results.append((slot, result)))

    def ping(self) -> None:
        self.responses = 0

        def lives() -> None:
            self.responses += 1

        self.process.ping(lives)

    def close(self) -> None:
        self.process.close()
        self.other_end.close()
        self.kernel.loop.close()

    def turn(self, seconds: float = 0.0) -> None:
        self.kernel.loop.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture
def mold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mold]:
    mold = Mold(monkeypatch)
    mold.say(Word.LOADED)
    yield mold
    for _, result in mold.results:
        if isinstance(result, Process):
            result.signal(signal.SIGKILL)
            result.wait()
            result.close()
    mold.close()


def is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def test_a_worker_is_the_one_that_announces_itself(mold: Mold) -> None:
    mold.ask(3)
    pid = sleeper()
    mold.say(Word.FORKED, 3, pid)
    assert mold.results == []
    mold.say(Word.WORKER, 3, sender=pid)
    ((index, result),) = mold.results
    assert isinstance(result, Process)
    assert (index, result.pid) == (3, pid)


def test_a_worker_brings_a_channel_and_nothing_else_is_one(mold: Mold) -> None:
    own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream, other = socket.socketpair()
    before = len(os.listdir("/proc/self/fd"))
    for index, passed in enumerate([[theirs], [stream], [theirs, stream], []]):
        mold.ask(index)
        mold.say(Word.WORKER, index, sender=sleeper(), passed=tuple(os.dup(one.fileno()) for one in passed))
    processes = [result for _, result in mold.results if isinstance(result, Process)]
    assert [process.channel is not None for process in processes] == [True, False, False, False]
    assert len(os.listdir("/proc/self/fd")) == before + 4 + 1  # the processes and the channel
    for one in (own, theirs, stream, other):
        one.close()


def test_a_worker_that_has_become_a_mold_forks(mold: Mold) -> None:
    own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other = MoldProcess(cast(Any, mold.kernel), lambda _: None, 60.0, lambda: None, mold._ended)
    other.adopt(Process(sleeper()), theirs)
    assert other.is_loaded
    other.spawn(3, lambda *_: None)
    assert own.recv(100) == encode(Word.SPAWN, 3)
    assert other.close() == [3]
    own.close()


@pytest.mark.parametrize("pid", [-1, 0, 1, 1 << 22, 1 << 31, 1 << 70])
def test_a_pid_that_is_no_child_is_no_worker_and_gets_no_signal(mold: Mold, pid: int) -> None:
    mold.ask(3)
    mold.say(Word.FORKED, 3, pid)
    ((_, result),) = mold.results
    assert isinstance(result, OSError)


def test_a_worker_that_was_told_to_be_lost_is_ended(mold: Mold) -> None:
    """The process between two forks was killed when it had forked, and could not tell."""
    mold.ask(3)
    mold.say(Word.LOST, 3, 0, "it did not fork")
    pid = sleeper()
    mold.say(Word.WORKER, 3, sender=pid)
    assert len(mold.results) == 1
    assert not is_child(pid)


def test_a_worker_without_a_descriptor_for_it_is_ended(mold: Mold) -> None:
    pids = [sleeper(), sleeper()]
    mold.ask(3)
    mold.ask(4)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        mold.say(Word.FORKED, 3, pids[0])
        mold.say(Word.WORKER, 4, sender=pids[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [str(result) for _, result in mold.results] == ["[Errno 24] Too many open files"] * 2
    assert not any(map(is_child, pids))


def test_a_mold_that_does_not_fork_in_time_is_ended_and_what_it_was_asked_for_fails(
    mold: Mold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mold_process, "FORK_S", 0.01)
    monkeypatch.setattr(mold_process, "TRACEBACK_S", 0.01)
    mold.ask(3)
    wait_until(lambda: mold.turn(0.01) or mold.results)
    assert [end.why for end in mold.ends] == [
        "it did not fork a worker within 0.01 s: it was stopped, or hung"
    ]
    ((_, result),) = mold.results
    assert isinstance(result, NotBegun), "the next mold may do the same"
    assert not is_child(mold.pid)


def test_a_mold_that_responds_goes_on(mold: Mold) -> None:
    mold.ping()
    assert mold.other_end.recv(100) == encode(Word.PING)
    assert mold.responses == 0
    mold.say(Word.PONG)
    mold.say(Word.PONG)
    assert mold.responses == 1


def test_a_mold_that_does_not_respond_in_time_is_ended(mold: Mold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mold_process, "FORK_S", 0.01)
    monkeypatch.setattr(mold_process, "TRACEBACK_S", 0.01)
    mold.ping()
    wait_until(lambda: mold.turn(0.01) or mold.ends)
    assert [end.why for end in mold.ends] == [
        "it did not go on, after it had forked a worker, within 0.01 s: it was stopped, or hung"
    ]
    assert mold.responses == 0
    assert not is_child(mold.pid)


def test_the_response_of_a_mold_that_has_ended_is_none(mold: Mold) -> None:
    mold.ping()
    mold.other_end.send(encode(Word.PONG))
    os.kill(mold.pid, signal.SIGKILL)
    os.waitid(os.P_PID, mold.pid, os.WEXITED | os.WNOWAIT)
    mold.process._exited()
    assert [end.why for end in mold.ends] == ["killed by SIGKILL"]
    assert mold.responses == 0


def test_what_a_mold_has_said_is_heard_though_it_has_not_read_all(mold: Mold) -> None:
    mold.ask(3)
    mold.ask(4)
    mold.other_end.send(encode(Word.LOST, 3, 11, "no"))
    mold.other_end.close()
    mold.turn(0.01)
    (index, result), *_ = mold.results
    assert isinstance(result, OSError)
    assert (index, result.errno) == (3, 11)


def test_what_the_system_refuses_a_mold_is_no_fault_of_a_worker(mold: Mold) -> None:
    mold.ask(3)
    mold.ask(4)
    mold.say(Word.LOST, 3, 11, "Resource temporarily unavailable")
    mold.say(Word.LOST, 4, 0, "the process between two forks did not fork")
    (_, refused), (_, lost) = mold.results
    assert isinstance(refused, OSError)
    assert not isinstance(refused, NotBegun)
    assert isinstance(lost, NotBegun)


def test_a_mold_that_nothing_is_asked_of_has_no_limit(mold: Mold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mold_process, "FORK_S", 0.01)
    mold.ask(3)
    mold.say(Word.LOST, 3, 11, "no")
    mold.turn(0.05)
    assert mold.ends == []
    assert is_child(mold.pid)


def test_one_that_retires_ends_with_what_it_was_asked_for_and_is_no_news(
    mold: Mold, monkeypatch: pytest.MonkeyPatch
) -> None:
    successor = Mold(monkeypatch)
    mold.ask(3)
    mold.process.retire(successor.process)
    assert not mold.process.is_closed
    mold.say(Word.LOST, 3, 11, "no")
    assert mold.process.is_closed
    assert mold.ends == []
    successor.close()


def test_the_status_of_a_process_is_that_of_the_process_and_of_no_other_with_its_pid() -> None:
    ended = Process(sleeper())
    ended.signal(signal.SIGKILL)
    os.waitpid(ended.pid, 0)
    ended.pid = other = sleeper()  # as if the pid were used again
    try:
        ended.signal(signal.SIGKILL)
        assert ended.wait() is None
        assert is_child(other)
        assert os.waitpid(other, os.WNOHANG) == (0, 0), "it lives"
    finally:
        ended.close()
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
