"""One process's asyncio loop, waiting inside one process's engine.

It owns the engine and the selector that joins the two, and knows how to leave them: `close` at the end of a
process's work, `abandon` in a child that was forked with a copy of its parent's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from understudy._engine import Engine

from understudy.selector import EngineSelector


class EngineLoop(asyncio.SelectorEventLoop):
    """An ordinary asyncio loop whose `select` is a turn of `engine`."""

    def __init__(self, may_wait: Callable[[], bool] = lambda: True) -> None:
        self.engine = Engine()
        self._turns = EngineSelector(self.engine, may_wait)
        self._buried: set[asyncio.Task[Any]] = set()
        super().__init__(self._turns)

    def is_watching(self) -> bool:
        """Whether anybody waits for a descriptor; asyncio's own self-pipe is not counted."""
        return len(self._turns.get_map()) > 1

    def finish_tasks(self, *, cancel: bool) -> None:
        """Runs until every task is done, after cancelling them if asked."""
        tasks = asyncio.all_tasks(self)
        if cancel:
            for task in tasks:
                task.cancel()
        if tasks:
            self.run_until_complete(asyncio.wait(tasks))

    def close(self) -> None:
        super().close()
        self.engine.close()

    def abandon(self) -> None:
        """In a forked child: closes the copy without touching what the parent still uses.

        Tasks are buried, not freed: freeing a suspended coroutine would run its `finally` blocks, once more
        and in the wrong process. Signal handlers of the loop return to the defaults.
        """
        self._buried = asyncio.all_tasks(self)
        for task in self._buried:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather does
        self._turns.abandon()
        self.engine.close()
        super().close()
