"""Timers: one event of one session, once, in the future. They belong to one process and one run."""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Any

from prefork.kernel.events import Recipient, expect_handler


class Timer:
    """What `Kernel.delay` and `Session.delay` return. `when` is in seconds of CLOCK_MONOTONIC."""

    __slots__ = ("_handle", "_timers", "args", "event", "session", "when")

    def __init__(
        self, timers: Timers, session: Recipient, event: str, args: tuple[Any, ...], when: float
    ) -> None:
        self._timers = timers
        self.session = session
        self.event = event
        self.args = args
        self.when = when
        self._handle: TimerHandle | None = None  # until the kernel runs

    def cancel(self) -> None:
        """Cancels the timer. Nothing happens if it has fired or was cancelled before."""
        self._timers._remove(self)
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, loop: AbstractEventLoop) -> None:
        self._handle = loop.call_at(self.when, self._timers._fire, self)


class Timers:
    """The pending timers. `deliver` runs one event. Timers fire on the loop that is attached."""

    def __init__(self, deliver: Callable[[Any, str, tuple[Any, ...]], object]) -> None:
        self._deliver = deliver
        self._pending: set[Timer] = set()
        self._delays: dict[tuple[int, str], Timer] = {}  # by session and event, as `Session.delay` has them
        self._loop: AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def set(self, session: Recipient, event: str, seconds: float, args: tuple[Any, ...]) -> Timer:
        """Calls `event` once, in `seconds`. Raises UnknownEvent."""
        expect_handler(session, event)
        timer = Timer(self, session, event, args, time.monotonic() + seconds)
        self._pending.add(timer)
        if self._loop is not None:
            timer._arm(self._loop)
        return timer

    def delay(
        self, session: Recipient, event: str, seconds: float | None, args: tuple[Any, ...]
    ) -> Timer | None:
        """As `set`, but there is one such timer for each session and event, which this one replaces.

        Without `seconds` it only cancels that one.
        """
        if (previous := self._delays.get((id(session), event))) is not None:
            previous.cancel()
        if seconds is None:
            return None
        timer = self._delays[id(session), event] = self.set(session, event, seconds, args)
        return timer

    def attach(self, loop: AbstractEventLoop) -> None:
        """Fires on `loop` from now on, also what was set before."""
        self._loop = loop
        for timer in self._pending:
            timer._arm(loop)

    def cancel(self, session: Recipient | None = None) -> None:
        """Cancels the timers of a session; None: all."""
        for timer in [timer for timer in self._pending if session is None or timer.session is session]:
            timer.cancel()

    def _fire(self, timer: Timer) -> None:
        self._remove(timer)
        self._deliver(timer.session, timer.event, timer.args)

    def _remove(self, timer: Timer) -> None:
        self._pending.discard(timer)
        key = id(timer.session), timer.event
        if self._delays.get(key) is timer:
            del self._delays[key]
