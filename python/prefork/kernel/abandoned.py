"""The end of a child that the application forked, when its code returns to the product.

Always: the process ends there, with the status of what that code raised. It must not serve: its parent does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import NoReturn

from prefork.errors import ConnectionGone, PreforkError
from prefork.kernel.forking import end_process


def end_abandoned(error: BaseException | None) -> NoReturn:
    """The code that forked has returned, or raised `error`."""
    # To such a child every client is gone: that it goes on to respond is no failure.
    end_process(None if isinstance(error, ConnectionGone) else error)


def end_returned(task: asyncio.Task[object] | None, results: tuple[object, ...]) -> NoReturn:
    """The code that forked has returned to the loop: from `task`, or from a thread with these results."""
    if task is None:
        end_abandoned(next(filter(None, map(_error_of, results)), None))
    if task.done():
        end_abandoned(_error_of(task))
    end_process(PreforkError("a child that a task forks cannot await: the loop is its parent's"))


def _error_of(result: object) -> BaseException | None:
    """The exception that a future or another result has."""
    if isinstance(result, asyncio.Future | concurrent.futures.Future) and result.done():
        return asyncio.CancelledError() if result.cancelled() else result.exception()
    return result if isinstance(result, BaseException) else None
