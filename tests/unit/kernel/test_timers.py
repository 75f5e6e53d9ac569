"""The timers of one process, without a kernel."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prefork.errors import OptionError, UnknownEvent
from prefork.kernel.events import Recipient, event
from prefork.kernel.timers import Timers, due_at, due_in


class Clock(Recipient):
    alias = "CLOCK"

    @event
    def tick(self, *_args: Any) -> None: ...

    @event
    def tock(self) -> None: ...


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def fired() -> list[Any]:
    return []


@pytest.fixture
def timers(fired: list[Any]) -> Timers:
    return Timers(lambda *delivery: fired.append(delivery))


def run(loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
    """Until no timer is pending."""
    while len(timers):
        loop.call_later(0.001, loop.stop)
        loop.run_forever()


def test_a_timer_fires_on_the_loop_that_comes_later(
    timers: Timers, loop: asyncio.AbstractEventLoop, fired: list[Any]
) -> None:
    clock = Clock()
    timer = timers.set(clock, "tick", due_in(0.001), (1, 2))
    assert timer.when <= time.monotonic() + 0.001
    timers.attach(loop)
    run(loop, timers)
    assert fired == [(clock, "tick", (1, 2))]


def test_an_unknown_event_is_refused_and_leaves_no_timer(timers: Timers) -> None:
    with pytest.raises(UnknownEvent, match="session CLOCK has no event 'nothing'; it has tick, tock"):
        timers.set(Clock(), "nothing", 1, ())
    assert len(timers) == 0


def test_a_delay_replaces_the_one_of_the_same_session_and_event(
    timers: Timers, loop: asyncio.AbstractEventLoop, fired: list[Any]
) -> None:
    timers.attach(loop)
    one, other = Clock(), Clock()
    timers.delay(one, "tick", due_in(60), ("old",))
    timers.delay(one, "tick", 0, ("new",))
    timers.delay(one, "tock", 0, ())
    timers.delay(other, "tick", 0, ("other",))
    run(loop, timers)
    assert fired == [(one, "tick", ("new",)), (one, "tock", ()), (other, "tick", ("other",))]


def test_a_delay_does_not_touch_other_timers_of_that_event(timers: Timers) -> None:
    clock = Clock()
    timers.set(clock, "tick", due_in(60), ())
    timers.delay(clock, "tick", due_in(60), ())
    assert timers.delay(clock, "tick", None, ()) is None
    assert len(timers) == 1


@pytest.mark.parametrize("how", ["fired", "cancelled", "cleared"])
def test_nothing_is_kept_of_a_timer_that_is_over(
    timers: Timers, loop: asyncio.AbstractEventLoop, how: str
) -> None:
    clock = Clock()
    timers.attach(loop)
    timer = timers.delay(clock, "tick", due_in(0 if how == "fired" else 60), ())
    assert timer is not None
    if how == "cancelled":
        timer.cancel()
        timer.cancel()
    elif how == "cleared":
        timers.delay(clock, "tick", None, ())
    run(loop, timers)
    assert timers._delays == {}


def test_the_timers_of_one_session_or_of_all_are_cancelled(
    timers: Timers, loop: asyncio.AbstractEventLoop, fired: list[Any]
) -> None:
    timers.attach(loop)
    one, other = Clock(), Clock()
    timers.set(one, "tick", 0, ())
    timers.set(other, "tick", 0, ("kept",))
    timers.cancel(one)
    run(loop, timers)
    assert fired == [(other, "tick", ("kept",))]
    timers.set(other, "tick", 0, ())
    timers.cancel()
    assert len(timers) == 0


# --- adjusted, and at a moment of the calendar --------------------------------------------------------------


def test_an_adjusted_timer_fires_at_its_new_time_only(
    timers: Timers, loop: asyncio.AbstractEventLoop, fired: list[Any]
) -> None:
    clock = Clock()
    before = timers.set(clock, "tick", due_in(60), ("before",))
    assert before.adjust(0.002)
    timers.attach(loop)
    during = timers.delay(clock, "tick", due_in(60), ("during",))
    assert during is not None
    assert during.adjust(0.001)
    assert during.when <= time.monotonic() + 0.001
    run(loop, timers)
    assert fired == [(clock, "tick", ("during",)), (clock, "tick", ("before",))]
    assert not before.adjust(0)
    assert timers._delays == {}


def test_a_cancelled_timer_cannot_be_adjusted(timers: Timers) -> None:
    timer = timers.set(Clock(), "tick", due_in(60), ())
    timer.cancel()
    assert not timer.adjust(1)
    assert len(timers) == 0


def test_a_timer_of_a_loop_that_is_closed_cannot_be_adjusted(timers: Timers) -> None:
    loop = asyncio.new_event_loop()
    timers.attach(loop)
    timer = timers.set(Clock(), "tick", due_in(60), ())
    loop.close()
    assert not timer.adjust(1)


@pytest.mark.parametrize("kind", ["seconds", "UTC", "local"])
def test_a_moment_of_the_calendar_is_as_far_away_as_the_clock_says(kind: str) -> None:
    moment: float | datetime = time.time() + 3600
    if kind == "UTC":
        moment = datetime.now(UTC) + timedelta(hours=1)
    elif kind == "local":
        moment = datetime.now() + timedelta(hours=1)
    assert math.isclose(due_at(moment), due_in(3600), abs_tol=5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "1", None, timedelta(seconds=1)])
def test_a_time_is_a_finite_number(wrong):
    for due in (due_in, due_at):
        with pytest.raises(OptionError, match="a timer: expected "):
            due(wrong)
    timer = Timers(lambda *_: None).set(Clock(), "tick", due_in(5), ())
    before = timer.when
    with pytest.raises(OptionError, match="a timer: expected seconds, got "):
        timer.adjust(wrong)
    assert timer.when == before
