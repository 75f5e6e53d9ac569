"""Forking, with real children: what each process keeps, and that neither disturbs the other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefork._engine import BlockedSignals
from prefork.errors import BindError
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session


class Recorder(Session):
    alias = "R"

    def __init__(self) -> None:
        self.recorded: list[Any] = []

    @event
    def note(self, what: Any) -> None:
        self.recorded.append(what)

    @event
    def ring(self) -> None:
        self.recorded.append("own timer")


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


class Child:
    """A child that `kernel` forks, once. What `ends_with` gives there at its end, `report` gives here."""

    def __init__(self, kernel: Kernel, ends_with: Callable[[], Any] = lambda: None) -> None:
        self.kernel = kernel
        self.reader, self.writer = os.pipe()
        self.pid = -1
        self.status: int | None = None
        kernel.on_stop(lambda: self.pid or os.write(self.writer, json.dumps(ends_with()).encode()))

    def fork(self) -> bool:
        """True in the child."""
        self.pid = self.kernel.fork()
        if self.pid == 0:
            signal.alarm(20)
        return self.pid == 0

    def has_ended(self) -> None:
        """Waits for that, and leaves it a zombie."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    @contextlib.contextmanager
    def ends_within(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.pid == 0:
                os._exit(71)  # run() returned
        os.close(self.writer)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def report(self) -> Any:
        with open(self.reader, "rb") as pipe:
            assert self.status == 0
            return json.loads(pipe.read())


def test_a_child_keeps_sessions_and_nothing_of_the_parents_business(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    unwound: list[str] = []

    def seen() -> list[Any]:
        gc.collect()
        aliased = kernel.find("ALIAS") is recorder
        usr1 = signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        return [recorder.recorded, unwound, aliased, usr1, list(kernel._timers._delays)]

    child = Child(kernel, ends_with=seen)

    async def waiting() -> None:
        try:
            await released.wait()
        finally:
            unwound.append("finally")

    def between() -> None:
        kernel.post("R", "note", "parent's post")
        kernel.delay(0.001, "R", "note", "parent's timer")
        recorder.delay("ring", 0.002)
        kernel.between_turns(lambda: recorder.recorded.append("parent's turn"))
        parents_loop = kernel.loop
        if child.fork():
            assert kernel.loop is not parents_loop
            kernel.post("R", "note", "child's post")
            kernel.delay(0.01, "R", "note", "child's timer")
            kernel.between_turns(lambda: recorder.recorded.append("child's turn"))
        else:
            kernel.signal(signal.SIGUSR1, "R", None)
            kernel.loop.call_later(0.003, released.set)

    released = asyncio.Event()
    recorder.alias_set("ALIAS")
    kernel.signal(signal.SIGUSR1, "R", "note")
    kernel.session("S", {"wait": waiting, "fork": lambda: kernel.between_turns(between)})
    kernel.post("S", "wait")
    kernel.delay(0.001, "S", "fork")
    with child.ends_within():
        kernel.run()
    assert child.report() == [["child's post", "child's turn", "child's timer"], [], True, True, []]
    # Whether the timers are due before or after the turn depends on how long the fork took.
    assert sorted(recorder.recorded) == ["own timer", "parent's post", "parent's timer", "parent's turn"]
    assert unwound == ["finally"]


def test_the_parents_descriptors_still_work_after_the_child_left_its_epoll_set(kernel: Kernel) -> None:
    one, other = socket.socketpair()
    recorded: list[bytes] = []
    child = Child(kernel, ends_with=lambda: len(recorded))

    def readable() -> None:
        recorded.append(one.recv(100))
        kernel.loop.remove_reader(one)

    def between() -> None:
        if not child.fork():
            # Only when the child has let go of everything, and has ended, comes the byte.
            child.has_ended()
            other.send(b"still recorded")

    def start() -> None:
        kernel.loop.add_reader(one, readable)
        kernel.between_turns(between)

    kernel.on_start(start)
    with child.ends_within(), one, other:
        kernel.run()
    assert child.report() == 0
    assert recorded == [b"still recorded"]


def test_a_signal_to_the_child_is_not_heard_by_the_parent(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    child = Child(kernel, ends_with=lambda: recorder.recorded)

    def end() -> None:
        if child.pid == 0 and not recorder.recorded:
            kernel.delay(0.005, "S", "end")  # on a busy machine this comes before the signal
        else:
            kernel.stop()

    def between() -> None:
        if child.fork():
            kernel.signal(signal.SIGUSR1, "R", "note")
            os.kill(os.getpid(), signal.SIGUSR1)
            kernel.delay(0.005, "S", "end")
        else:
            child.has_ended()
            kernel.delay(0.005, "S", "end")

    kernel.session("S", {"end": end})
    kernel.signal(signal.SIGUSR1, "R", "note")
    kernel.on_start(lambda: kernel.between_turns(between))
    with child.ends_within():
        kernel.run()
    assert child.report() == [signal.SIGUSR1]
    assert recorder.recorded == []


def test_signals_wait_while_a_fork_is_under_way(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked: list[set[int]] = []

    def fork() -> int:
        blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        raise BlockingIOError("no more processes")

    def between() -> None:
        with pytest.raises(BlockingIOError):
            kernel.fork()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(os, "fork", fork)
    kernel.between_turns(between)
    kernel.run()
    assert blocked[0] >= {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_child_is_a_kernel_like_any_other(kernel: Kernel) -> None:
    """Its descriptors, tasks and Ctrl-C work, it holds what its parent held, and it may fork in its turn."""
    recorder = kernel.add(Recorder())
    child = Child(kernel, ends_with=lambda: recorder.recorded)

    async def work() -> None:
        one, other = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=one)
        other.send(b"line\n")
        recorder.recorded.append((await reader.readline()).decode())
        writer.close()
        await writer.wait_closed()
        other.close()
        kernel.between_turns(again)

    def again() -> None:
        grandchild = kernel.fork()
        if grandchild == 0:
            os._exit(7)
        recorder.recorded.append(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        os.kill(os.getpid(), signal.SIGINT)

    def between() -> None:
        if child.fork():
            kernel.post("S", "work")
        else:
            kernel.release(kernel)

    kernel.session("S", {"work": work})
    kernel.hold(kernel)
    kernel.between_turns(between)
    with child.ends_within():
        kernel.run()
    assert child.report() == ["line\n", 7]


def test_a_child_that_only_forks_has_no_loop_and_its_children_have_one(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    child = Child(kernel, ends_with=lambda: recorder.recorded)

    def epoll_sets() -> int:
        fds = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum("eventpoll" in os.readlink(fd) for fd in fds if os.path.lexists(fd))

    def between() -> None:
        if not child.fork():
            return
        others = epoll_sets()
        kernel.discard_loop()
        kernel.discard_loop()  # a second time closes no other descriptor
        recorder.recorded.append(others - epoll_sets())
        if pid := kernel.fork():
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        kernel.delay(0.001, "R", "ring")

    kernel.between_turns(between)
    with child.ends_within():
        kernel.run()
    assert child.report() == [2, "own timer"]


def test_a_child_ends_without_a_complaint_about_its_parents_tasks(kernel: Kernel) -> None:
    complaints = io.StringIO()

    def complained() -> str:
        gc.collect()
        return complaints.getvalue()

    child = Child(kernel, ends_with=complained)

    async def waiting() -> None:
        await asyncio.sleep(0.005)

    def between() -> None:
        if child.fork():
            logging.getLogger("asyncio").addHandler(logging.StreamHandler(complaints))

    kernel.session("S", {"wait": waiting})
    kernel.on_start(lambda: kernel.loop.call_later(0.001, kernel.between_turns, between))
    kernel.post("S", "wait")
    with child.ends_within():
        kernel.run()
    assert child.report() == ""


@pytest.mark.parametrize(
    ("raised", "status", "printed"),
    [
        (None, 0, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(), 0, ""),
        (BindError("taken"), 2, "prefork: taken"),
        (ValueError("a bug"), 1, "ValueError: a bug"),
    ],
)
def test_run_does_not_return_in_a_child(
    kernel: Kernel,
    capfd: pytest.CaptureFixture[str],
    raised: BaseException | None,
    status: int,
    printed: str,
) -> None:
    child = Child(kernel)

    def between() -> None:
        if child.fork() and raised is not None:
            sys.excepthook = sys.__excepthook__
            raise raised

    kernel.between_turns(between)
    with child.ends_within():
        kernel.run()
    assert child.status == status
    *traceback, last = capfd.readouterr().err.splitlines() or [""]
    assert last == printed
    assert bool(traceback) == (status == 1)


def test_memory_is_frozen_before_the_first_fork_only(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    monkeypatch.setattr(os, "fork", lambda: calls.append("fork") or 1)
    for _ in range(2):
        kernel.between_turns(kernel.fork)
    kernel.run()
    assert calls == ["freeze", "fork", "fork"]


def test_a_signal_waits_until_it_is_not_blocked() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda signum, _frame: received.append(signum))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        with BlockedSignals():
            signal.raise_signal(signal.SIGUSR1)
            assert received == []
        assert received == [signal.SIGUSR1]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked | {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGUSR1, before)
