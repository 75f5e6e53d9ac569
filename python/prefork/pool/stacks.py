"""The stacks of a worker's threads and of its tasks.

A pipe that the manager makes before the first fork. On the signal STACKS `faulthandler` writes the threads to
it, in C and without the GIL, even while the worker's Python is stuck. On the signal TASKS Python writes the
tasks of the loop, when its main thread runs Python the next time. Always: neither end blocks. What comes is
text to show, and it is limited: a worker could write anything.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
from typing import TYPE_CHECKING, ClassVar

from prefork._engine import STACKS, TASKS
from prefork.kernel.fork_hooks import handles_signals
from prefork.kernel.task_stacks import describe_tasks
from prefork.pool.worker_signals import hear, hearing_kernel

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

MOST_BYTES = 256 * 1024
NO_TASKS = "no asyncio tasks"

BEGIN, END = "\x02", "\x03"
"""Around the tasks of a worker, which begin with its pid."""
TASKS_OF = re.compile(f"{BEGIN}([0-9]+) ([^{BEGIN}{END}]*)({END}?)")


class Stacks:
    """Raises OSError if the process has no descriptor left."""

    _registered: ClassVar[int | None] = None
    """The descriptor that this process writes its own stacks to."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_worker = False
        self.is_reading = False
        """Whether a command waits for stacks. Those of two workers would be mixed."""

    def prepare(self, kernel: Kernel) -> None:
        """Manager, before it forks: the next workers of this kernel write to this pipe."""
        if Stacks._registered != self._writer:
            faulthandler.register(STACKS, file=self._writer, all_threads=True)
            Stacks._registered = self._writer
        hear(kernel, TASKS, _heard)

    def read(self) -> str:
        """What has come since the last call (manager)."""
        found = bytearray()
        with contextlib.suppress(BlockingIOError):
            while len(found) < MOST_BYTES and (part := os.read(self._reader, 65536)):
                found += part
        return found.decode(errors="replace")

    def join(self) -> None:
        """Worker: keeps its end when the others are closed."""
        self._is_worker = True

    def close(self) -> None:
        """Closes this process's ends, but that of a worker."""
        os.close(self._reader)
        if not self._is_worker:
            self.leave()

    def leave(self) -> None:
        """Closes the end that is written to. What has its number later is not written to."""
        if Stacks._registered == self._writer:
            faulthandler.unregister(STACKS)
            Stacks._registered = None
        os.close(self._writer)


@handles_signals
def _heard(_signum: int, _frame: object) -> None:
    """Worker: writes its tasks. They are cut if the pipe does not take them."""
    if (writer := Stacks._registered) is not None:
        text = f"{BEGIN}{os.getpid()} {tasks_of_this_process() or NO_TASKS}{END}"
        with contextlib.suppress(OSError):
            os.write(writer, text.encode(errors="replace"))


def tasks_of_this_process() -> str:
    """The tasks of the kernel's loop, as text; "" if there are none. For the main thread."""
    try:
        kernel = hearing_kernel()
        return "" if kernel is None else describe_tasks(kernel.loop)
    except Exception as error:  # of a task that is not asyncio's, or there is no loop
        return f"tasks cannot be shown: {type(error).__name__}"


def threads_in(text: str) -> str:
    """What has come from the pipe, without the tasks of a worker that was asked before."""
    return TASKS_OF.sub("", text)


def tasks_in(text: str, pid: int) -> str | None:
    """The tasks of this worker in what has come from the pipe; None if they have not come."""
    for of, tasks, end in TASKS_OF.findall(text):
        if of == str(pid):
            return tasks if end else f"{tasks}\n  ... (cut)"
    return None
