"""A listener of a queue rests while the process forks, and runs in both processes afterwards."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from queue import Queue, SimpleQueue
from typing import Any

import pytest

from prefork.logs import queue_listeners
from support.waiting import DEADLINE_S, wait_until


class Kept(logging.Handler):
    """Keeps what is written. A record waits for `goes_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.goes_on.wait(DEADLINE_S)
        self.texts.append(record.getMessage())


def log_to(queue: Any, text: str) -> None:
    QueueHandler(queue).emit(logging.makeLogRecord({"msg": text}))


@pytest.fixture(params=[Queue, SimpleQueue])
def listener(request: pytest.FixtureRequest) -> Iterator[QueueListener]:
    made = QueueListener(request.param(), Kept())
    made.start()
    yield made
    made.stop()


def kept(listener: QueueListener) -> Kept:
    (handler,) = listener.handlers
    assert isinstance(handler, Kept)
    return handler


def test_what_was_logged_is_written_before_the_fork_and_no_thread_is_left(listener: QueueListener) -> None:
    before = threading.active_count()
    for number in range(100):
        log_to(listener.queue, f"{number}")
    queue_listeners.rest()
    assert kept(listener).texts == [f"{number}" for number in range(100)]
    assert threading.active_count() == before - 1
    queue_listeners.resume()
    log_to(listener.queue, "later")
    wait_until(lambda: kept(listener).texts[-1] == "later")


def test_a_child_has_a_thread_of_its_own(listener: QueueListener) -> None:
    queue_listeners.rest()
    pid = os.fork()
    queue_listeners.resume()
    if pid == 0:
        try:
            log_to(listener.queue, "of the child")
            end = time.monotonic() + DEADLINE_S
            while kept(listener).texts != ["of the child"] and time.monotonic() < end:
                time.sleep(0.01)
            os._exit(kept(listener).texts != ["of the child"])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    log_to(listener.queue, "of the parent")
    wait_until(lambda: kept(listener).texts == ["of the parent"])


def test_one_that_is_stuck_delays_no_fork_and_goes_on(listener: QueueListener) -> None:
    kept(listener).goes_on.clear()
    log_to(listener.queue, "stuck")
    queue: Any = listener.queue
    wait_until(lambda: queue.qsize() == 0)
    before = threading.active_count()
    queue_listeners.rest()
    queue_listeners.resume()
    log_to(listener.queue, "later")
    kept(listener).goes_on.set()
    wait_until(lambda: sorted(kept(listener).texts) == ["later", "stuck"])
    wait_until(lambda: threading.active_count() == before)


def test_a_queue_between_processes_keeps_its_one_reader() -> None:
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    listener = QueueListener(queue, Kept())
    listener.enqueue_sentinel = lambda: queue.put(None)  # type: ignore[method-assign]
    listener.dequeue = lambda block: queue.get()  # type: ignore[method-assign]  # noqa: ARG005
    listener.start()
    try:
        thread = listener._thread
        queue_listeners.rest()
        assert listener._thread is thread
        assert thread is not None
        assert thread.is_alive()
    finally:
        listener.stop()
        queue.close()


def test_without_a_listener_nothing_happens() -> None:
    queue_listeners.rest()
    queue_listeners.resume()
