"""One process's asyncio loop, waiting inside one process's engine.

It owns the engine and the selector that joins the two, and knows how to leave them: `close` at the end of a
process's work, `abandon` in a child that was forked with a copy of its parent's.
"""

from __future__ import annotations

import asyncio
import os
import signal
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
        self._abandoned = False
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

    def is_closed(self) -> bool:
        return self._abandoned or super().is_closed()

    def abandon(self) -> None:
        """In a forked child: closes the copy without touching what the parent still uses.

        Tasks are buried, not freed: freeing a suspended coroutine would run its `finally` blocks, once more
        and in the wrong process. The loop itself is buried too: to close it would write to a hundred pages
        that the child shares with its parent. What it holds of the kernel's, its descriptors, is closed.
        """
        self._buried = asyncio.all_tasks(self)
        for task in self._buried:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather does
        self._abandoned = True
        signal.set_wakeup_fd(-1)
        self._turns.abandon()
        self.engine.close()
        for end in (self._ssock, self._csock):  # type: ignore[attr-defined]  # asyncio's self-pipe
            os.close(end.detach())
