"""The tasks of asynchronous events. They belong to one process and one run."""

from __future__ import annotations

import asyncio
import logging
import reprlib
from typing import Any

from prefork.kernel.events import Recipient

logger = logging.getLogger("prefork.kernel")

Origin = tuple[Recipient, str, tuple[Any, ...]]
"""Whose coroutine it is: session, event, arguments."""

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 200


def report(session: Recipient | str, event: str, args: tuple[Any, ...], error: BaseException) -> None:
    """Logs what an event raised."""
    shown = ", ".join(map(_shorten.repr, args))
    logger.error("session %s: event %s(%s) failed", session, event, shown, exc_info=error)


class Tasks:
    """Keeps tasks until they are done, because asyncio holds them weakly, and reports their exceptions."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], Origin | None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def keep(self, task: asyncio.Task[Any], origin: Origin | None) -> None:
        """Keeps a task. None as its origin: its caller handles its exception."""
        self._tasks[task] = origin
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        origin = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
            return  # those end the run, and are no failure
        if origin is not None:
            report(*origin, error)
