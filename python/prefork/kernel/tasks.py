"""The tasks of asynchronous events. They belong to one process and one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prefork.kernel.events import Recipient
from prefork.kernel.exits import raised

Origin = tuple[Recipient, str, tuple[Any, ...]]
"""Whose coroutine it is: session, event, arguments."""


class Tasks:
    """Keeps tasks until they are done, because asyncio holds them weakly.

    `failed` is called with the origin of a task and the exception that it raised; `ended` with the session of
    each task that has ended.
    """

    def __init__(
        self,
        failed: Callable[[Any, str, tuple[Any, ...], BaseException], object],
        ended: Callable[[Any], object],
    ) -> None:
        self._failed = failed
        self._ended = ended
        self._tasks: dict[asyncio.Task[Any], tuple[Origin, bool]] = {}
        self._running: dict[int, int] = {}  # by session
        self._exit: BaseException | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def keep(self, task: asyncio.Task[Any], origin: Origin, *, reports: bool) -> None:
        """Keeps a task. `reports`: its exception is reported; else its caller handles it."""
        self._tasks[task] = origin, reports
        session = origin[0]
        self._running[session._id] = self._running.get(session._id, 0) + 1
        task.add_done_callback(self._done)

    def has(self, session: Recipient) -> bool:
        """Whether a task of that session runs."""
        return session._id in self._running

    def raised(self, error: BaseException) -> bool:
        """Whether one of them has ended with this very exception."""
        # uvloop calls `_done` before `run_forever` raises what a task raised.
        return error is self._exit or any(raised(task, error) for task in self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        origin, reports = self._tasks.pop(task)
        session = origin[0]
        if left := self._running.pop(session._id) - 1:
            self._running[session._id] = left
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._exit = error  # it ends the run, and is no failure
        elif reports and error is not None:
            self._failed(*origin, error)
        self._ended(session)
