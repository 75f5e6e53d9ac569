"""A timer: one event of one session, once, in the future."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.kernel.session import Session


class Timer:
    """What `Kernel.delay` and `Session.delay` return. `when` is in seconds of CLOCK_MONOTONIC."""

    __slots__ = ("_handle", "_kernel", "args", "event", "session", "when")

    def __init__(
        self, kernel: Kernel, session: Session, event: str, args: tuple[Any, ...], when: float
    ) -> None:
        self._kernel = kernel
        self.session = session
        self.event = event
        self.args = args
        self.when = when
        self._handle: asyncio.TimerHandle | None = None  # until the kernel runs, nothing can ring

    def cancel(self) -> None:
        """Takes it back; nothing happens if it rang or was cancelled before."""
        self._leave()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_at(self.when, self._ring)

    def _ring(self) -> None:
        self._leave()
        self._kernel._deliver(self.session, self.event, self.args)

    def _leave(self) -> None:
        self._kernel._timers.discard(self)
        if self.session._delays.get(self.event) is self:
            del self.session._delays[self.event]
