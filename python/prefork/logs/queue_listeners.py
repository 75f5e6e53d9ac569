"""The threads of `logging.handlers.QueueListener`, while the kernel forks.

An application that logs through a queue has a thread that writes what the queue holds. A child has the queue
without the thread: what it logs would never be written. So the thread ends before the fork, once the queue is
empty, and each process starts a thread of its own.

Always: no record is written by two processes. A thread that does not end within WAIT_S goes on, and the child
has none, as with any other thread. A queue of `multiprocessing` is left alone: one process reads it for all.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

WAIT_S = 0.2
"""For all of them together."""

_resting: list[Any] = []


def rest() -> None:
    """Ends the threads of all listeners, which have written what was logged until now."""
    if "logging.handlers" not in sys.modules or threading.active_count() == 1:
        return
    until = time.monotonic() + WAIT_S
    for listener in _running():
        thread = listener._thread
        try:
            listener.enqueue_sentinel()
        except Exception:  # a queue that is full
            continue
        thread.join(max(until - time.monotonic(), 0))
        if thread.is_alive():
            _start(listener)  # one of both threads takes the sentinel, and the other one stays
        else:
            _resting.append(listener)


def resume() -> None:
    """Starts the threads that `rest` has ended. If the system has none left, the next call tries again."""
    _resting[:] = [listener for listener in _resting if not _start(listener)]


def _start(listener: Any) -> bool:
    listener._thread = None  # newer versions of CPython refuse to start a second one
    try:
        listener.start()
    except RuntimeError:
        return False
    return True


def _running() -> Iterator[Any]:
    from logging.handlers import QueueListener  # here: an application without one does not load it
    from queue import Queue, SimpleQueue

    for thread in threading.enumerate():
        listener = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(listener, QueueListener) and isinstance(listener.queue, Queue | SimpleQueue):
            yield listener
