"""SystemExit and KeyboardInterrupt that leave the loop: what ends the process, and what only a task.

asyncio stores what a task raises, and lets these two through as well. Most often that is the `sys.exit()` of
one request, and the others of this process must not end with it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from types import TracebackType

logger = logging.getLogger("prefork.kernel")

MACHINERY = ("asyncio.", "prefork.kernel.", "uvloop.")
"""The modules whose frames come before those of a task or a callback."""


def raised(task: asyncio.Task[object], error: BaseException) -> bool:
    """Whether the task has ended with this very exception."""
    return task.done() and not task.cancelled() and task.exception() is error


def is_of_task(error: BaseException) -> bool:
    """Whether it left the loop through a task; not through a callback, as a signal handler is."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if not f"{frame.f_globals.get('__name__', '')}.".startswith(MACHINERY):
            return bool(frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE))
        traceback = traceback.tb_next
    return False


def report(error: BaseException) -> None:
    """Logs an exit that ends a task alone. The traceback is for what waits for that task, or for asyncio."""
    logger.warning("a task of the application raised %r: it ends, and this process goes on", error)
