"""A fork while another thread logs or prints a line."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from prefork.kernel import fork_hooks
from prefork.logs import handler_locks
from support.waiting import wait_until

log = logging.getLogger("a.log.of.the.application")


class Disk(io.RawIOBase):
    """Takes a moment for each write of the process that made it."""

    def __init__(self) -> None:
        self.writing = threading.Event()
        self.goes_on = threading.Event()
        self.takes_s = 0.05
        self._pid = os.getpid()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        assert isinstance(data, memoryview)
        if os.getpid() == self._pid:
            self.writing.set()
            self.goes_on.wait(self.takes_s)
        return len(data)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(disk)))
    log.addHandler(handler)
    log.propagate = False
    try:
        yield disk
    finally:
        disk.goes_on.set()
        log.removeHandler(handler)


@pytest.fixture
def holder() -> Iterator[None]:
    """Has the hooks act as in a process whose kernel runs."""
    owner = object()
    fork_hooks.hold(owner, lambda _: None)
    yield
    fork_hooks.release(owner)


def unread(pipe: int) -> int:
    """Bytes that are in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def status_of_a_child(fork_name: str) -> int:
    """Of one that logs a line."""
    pid = {"kernel": fork_hooks.fork, "application": os.fork}[fork_name]()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            log.warning("from the child")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("whose", ["kernel", "application"])
def test_a_child_can_log_although_a_thread_was_in_the_middle_of_a_line(disk: Disk, whose: str) -> None:
    thread = threading.Thread(target=log.warning, args=("from the thread",))
    thread.start()
    disk.writing.wait()
    assert status_of_a_child(whose) == 0
    thread.join()
    thread = threading.Thread(target=log.warning, args=("the parent logs as before",), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("whose", ["kernel", "application"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_child_can_print_although_a_thread_was_in_the_middle_of_a_line(
    monkeypatch: pytest.MonkeyPatch, name: str, whose: str
) -> None:
    reading, writing = os.pipe()
    former = open(writing, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    monkeypatch.setattr(sys, name, former)
    handler = logging.StreamHandler(former)
    log.addHandler(handler)
    monkeypatch.setattr(log, "propagate", False)
    printing = threading.Thread(target=print, args=("x" * 200_000,), kwargs={"file": former, "flush": True})
    printing.start()
    wait_until(lambda: unread(reading) == fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    pid = {"kernel": fork_hooks.fork, "application": os.fork}[whose]()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            print("from the child: \udcff", file=getattr(sys, name))
            log.warning("logged")
            getattr(sys, name).flush()
        finally:
            os._exit(0)
    lines: list[bytes] = []

    def receive() -> None:
        with open(reading, "rb") as pipe:
            lines.extend(pipe)

    received = threading.Thread(target=receive)
    received.start()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    printing.join()
    log.removeHandler(handler)
    assert getattr(sys, name) is former, "the parent keeps it"
    former.close()
    received.join()
    assert sorted(line.strip(b"x\n") for line in lines) == [b"", b"from the child: \\udcff", b"logged"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_keeps_a_stream_that_no_thread_was_printing_to(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    with open(os.devnull, "w") as former:
        monkeypatch.setattr(sys, "stdout", former)
        pid = fork_hooks.fork()
        if pid == 0:
            os._exit(0 if sys.stdout is former and threading.active_count() == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ends.set()
    thread.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_handler_that_is_stuck_does_not_hold_up_a_fork(disk: Disk) -> None:
    disk.takes_s = 60
    thread = threading.Thread(target=log.warning, args=("from the thread",))
    thread.start()
    disk.writing.wait()
    pid = fork_hooks.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert thread.is_alive()
    disk.goes_on.set()
    thread.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("disk")
def test_a_thread_that_configures_the_log_is_waited_for_and_not_met_half_way() -> None:
    has_begun = threading.Event()

    def configure() -> None:  # as `logging.config` does: the module's lock, then that of a handler
        with logging._lock:  # type: ignore[attr-defined]
            has_begun.set()
            time.sleep(0.05)
            log.handlers[0].acquire()
            log.handlers[0].release()

    thread = threading.Thread(target=configure)
    thread.start()
    has_begun.wait()
    assert status_of_a_child("kernel") == 0
    thread.join()


@pytest.mark.usefixtures("disk")
def test_without_another_thread_nothing_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert handler_locks.take() is None
