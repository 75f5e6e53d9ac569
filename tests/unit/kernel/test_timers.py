"""The timers of one process, without a kernel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.errors import UnknownEvent
from prefork.kernel.events import Recipient, event
from prefork.kernel.timers import Timers


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
    timer = timers.set(clock, "tick", 0.001, (1, 2))
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
    timers.delay(one, "tick", 60, ("old",))
    timers.delay(one, "tick", 0, ("new",))
    timers.delay(one, "tock", 0, ())
    timers.delay(other, "tick", 0, ("other",))
    run(loop, timers)
    assert fired == [(one, "tick", ("new",)), (one, "tock", ()), (other, "tick", ("other",))]


def test_a_delay_does_not_touch_other_timers_of_that_event(timers: Timers) -> None:
    clock = Clock()
    timers.set(clock, "tick", 60, ())
    timers.delay(clock, "tick", 60, ())
    assert timers.delay(clock, "tick", None, ()) is None
    assert len(timers) == 1


@pytest.mark.parametrize("how", ["fired", "cancelled", "cleared"])
def test_nothing_is_kept_of_a_timer_that_is_over(
    timers: Timers, loop: asyncio.AbstractEventLoop, how: str
) -> None:
    clock = Clock()
    timers.attach(loop)
    timer = timers.delay(clock, "tick", 0 if how == "fired" else 60, ())
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
