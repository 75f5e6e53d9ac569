"""uvloop as this process's loop, with the engine nested in it.

To uvloop the engine is one descriptor, readable when a turn has something to do, and one timer. What changes
between two turns (a task that responds, for example) makes the descriptor readable.

This loop knows less than one that waits inside the engine: it cannot tell when nothing is left to do, so a
kernel on it runs until it is stopped.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable

import uvloop

from prefork._engine import Engine
from prefork.kernel.loop import Loop, do_nothing


class UVLoop(Loop, uvloop.Loop):  # type: ignore[misc]  # uvloop has no types for asyncio's newest methods
    """A uvloop that serves what its `engine` listens to."""

    def __init__(self, may_wait: Callable[[], bool] = lambda: True) -> None:  # noqa: ARG002  (see above)
        super().__init__()
        self.engine = Engine()
        self._discarded = False
        self._timer: TimerHandle | None = None
        self._fires_at = float("inf")
        self.add_reader(self.engine.fileno(), self._turn)
        self.call_soon(self._turn)

    def is_watching(self) -> bool:
        return True  # it may be: uvloop does not tell

    def close(self) -> None:
        if not self.is_closed():
            self.remove_reader(self.engine.fileno())
        super().close()
        self.engine.close()
        if self._left:  # the thread in which uvloop waits for the executor may still report its end
            self.call_soon_threadsafe = do_nothing  # type: ignore[method-assign,assignment]

    def is_closed(self) -> bool:
        return self._discarded or bool(super().is_closed())

    def discard(self) -> None:
        if not self._discarded:
            self._discarded = True
            self.engine.discard()

    def abandon(self, returned: Callable[..., object]) -> None:
        if not self._discarded:
            self.engine.discard()
        self.call_soon_threadsafe = returned  # type: ignore[method-assign,assignment]
        self.call_soon(returned)  # after what is ready already, which uvloop runs in any case

    def _turn(self) -> None:
        self.engine.poll(0.0)
        self._await_next()

    def _await_next(self) -> None:
        due_s = self.engine.due()
        if due_s is None:
            return
        fires_at = self.time() + due_s
        if fires_at < self._fires_at:  # a turn that comes too early does no harm
            if self._timer is not None:
                self._timer.cancel()
            self._fires_at = fires_at
            self._timer = self.call_at(fires_at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._fires_at = float("inf")
        self._turn()
