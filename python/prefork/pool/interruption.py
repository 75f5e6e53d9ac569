"""The exception in the main thread of a worker that is stuck, before its process ends (worker).

The guard, a native thread, has sent the responses and the tracebacks by then. What else the loop was doing,
its tasks, is written here. Always: the process ends in any
case, at the latest a second later. The exception is for the `finally` clauses of what it is stuck in: they
give back locks and end transactions that would outlive the process elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

from prefork._engine import INTERRUPT, take_interrupt
from prefork.errors import RequestTimeout
from prefork.kernel.fork_hooks import handles_signals
from prefork.logs.formats import is_json, outside
from prefork.pool.stacks import tasks_of_this_process


@handles_signals
def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    if take_interrupt():
        if tasks := tasks_of_this_process():
            with contextlib.suppress(OSError):
                os.write(2, outside(tasks) if is_json() else f"{tasks}\n".encode(errors="replace"))
        raise RequestTimeout("this worker is stuck, and ends")


def allow_interruption() -> None:
    """Has the guard raise RequestTimeout in this thread, the main one, before it ends the process."""
    with contextlib.suppress(ValueError):  # off the main thread no signal can be handled
        signal.signal(INTERRUPT, _interrupt)
