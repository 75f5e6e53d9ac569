"""Timers: one event of one session, once, in the future. They belong to one process and one run."""

from __future__ import annotations

import math
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from datetime import datetime
from numbers import Real
from typing import Any

from prefork.errors import OptionError
from prefork.kernel.events import Recipient, expect_handler


class Timer:
    """What `delay` and `alarm` of a kernel and of a session return.

    `when` is in seconds of CLOCK_MONOTONIC.
    """

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
        self._timers._cancel(self)

    def adjust(self, seconds: float) -> bool:
        """Moves the timer: it fires in `seconds` from now. False if it has fired or was cancelled before.
        Raises OptionError for what is no number.
        """
        return self._timers._adjust(self, due_in(seconds))

    def _arm(self, loop: AbstractEventLoop) -> None:
        self._disarm()
        self._handle = loop.call_at(self.when, self._timers._fire, self)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class Timers:
    """The pending timers, which fire on the loop that is attached.

    `deliver` runs one event; `ended` is called with the session of a timer that was cancelled.
    """

    def __init__(
        self,
        deliver: Callable[[Any, str, tuple[Any, ...]], object],
        ended: Callable[[Any], object] = lambda _session: None,
    ) -> None:
        self._deliver = deliver
        self._ended = ended
        self._pending: dict[int, set[Timer]] = {}  # by session
        self._delays: dict[tuple[int, str], Timer] = {}  # by session and event, as `Session.delay` has them
        self._loop: AbstractEventLoop | None = None

    def __len__(self) -> int:
        return sum(map(len, self._pending.values()))

    def has(self, session: Recipient) -> bool:
        """Whether a timer of that session is pending."""
        return session._id in self._pending

    def set(self, session: Recipient, event: str, when: float, args: tuple[Any, ...]) -> Timer:
        """Calls `event` once, at `when` of CLOCK_MONOTONIC. Raises UnknownEvent."""
        expect_handler(session, event)
        timer = Timer(self, session, event, args, when)
        self._pending.setdefault(session._id, set()).add(timer)
        if self._loop is not None:
            timer._arm(self._loop)
        return timer

    def delay(
        self, session: Recipient, event: str, when: float | None, args: tuple[Any, ...]
    ) -> Timer | None:
        """As `set`, but there is one such timer for each session and event, which this one replaces.

        Without a time it only cancels that one.
        """
        if when is not None:
            expect_handler(session, event)
        if (previous := self._delays.get((session._id, event))) is not None:
            previous.cancel()
        if when is None:
            return None
        timer = self._delays[session._id, event] = self.set(session, event, when, args)
        return timer

    def attach(self, loop: AbstractEventLoop) -> None:
        """Fires on `loop` from now on, also what was set before."""
        self._loop = loop
        for timers in self._pending.values():
            for timer in timers:
                timer._arm(loop)

    def cancel(self, session: Recipient | None = None) -> None:
        """Cancels the timers of a session; None: all."""
        found = self._pending.values() if session is None else (self._pending.get(session._id, ()),)
        for timer in [timer for timers in found for timer in timers]:
            timer.cancel()

    def _cancel(self, timer: Timer) -> None:
        self._remove(timer)
        timer._disarm()
        self._ended(timer.session)

    def _adjust(self, timer: Timer, when: float) -> bool:
        # A child that was forked has a copy of its parent's timers, whose loop is closed here.
        is_stale = self._loop is not None and self._loop.is_closed()
        if is_stale or timer not in self._pending.get(timer.session._id, ()):
            return False
        timer.when = when
        if self._loop is not None:
            timer._arm(self._loop)
        return True

    def _fire(self, timer: Timer) -> None:
        self._remove(timer)
        self._deliver(timer.session, timer.event, timer.args)

    def _remove(self, timer: Timer) -> None:
        session = timer.session
        pending = self._pending.get(session._id, set())
        pending.discard(timer)
        if not pending:
            self._pending.pop(session._id, None)
        if self._delays.get((session._id, timer.event)) is timer:
            del self._delays[session._id, timer.event]


def due_in(seconds: float) -> float:
    """The time of CLOCK_MONOTONIC that is so many seconds from now. Raises OptionError for anything else."""
    return time.monotonic() + _finite(seconds, "seconds")


def due_at(moment: float | datetime) -> float:
    """The time of CLOCK_MONOTONIC that is, by the clock of now, a moment of the calendar.

    It is in seconds since the epoch (`time.time()`), or a datetime; without a time zone, a local one. Raises
    OptionError for anything else.
    """
    since_epoch = moment.timestamp() if isinstance(moment, datetime) else moment
    return time.monotonic() + _finite(since_epoch, "a datetime or seconds since the epoch") - time.time()


def _finite(number: float, expected: str) -> float:
    # With a NaN among them the loop would find no timer at its time.
    if isinstance(number, Real) and math.isfinite(number):
        return float(number)
    raise OptionError(f"a timer: expected {expected}, got {number!r}")
