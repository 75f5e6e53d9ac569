"""The queue of posted events, without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.kernel.event_queue import EventQueue
from prefork.kernel.events import Recipient, event


class Ears(Recipient):
    @event
    def record(self, *_what: Any) -> None: ...


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_what_was_posted_before_there_is_a_loop_is_delivered_on_it(loop: asyncio.AbstractEventLoop) -> None:
    recorded: list[Any] = []
    queue = EventQueue(lambda *delivery: recorded.append(delivery))
    ears = Ears()
    assert queue.put(ears, "record", (1,))
    assert len(queue) == 1
    queue.attach(loop)
    assert queue.put(ears, "record", (2,))
    assert recorded == []
    turn(loop)
    assert recorded == [(ears, "record", (1,)), (ears, "record", (2,))]
    assert len(queue) == 0


def test_an_event_that_the_session_does_not_have_is_not_queued() -> None:
    queue = EventQueue(lambda *_: None)
    assert not queue.put(Ears(), "see", ())
    assert len(queue) == 0


def test_an_event_that_an_event_posts_comes_in_the_next_turn(loop: asyncio.AbstractEventLoop) -> None:
    recorded: list[int] = []

    def deliver(ears: Recipient, event: str, args: tuple[Any, ...]) -> None:
        recorded.append(args[0])
        queue.put(ears, event, (args[0] + 1,))

    queue = EventQueue(deliver)
    queue.attach(loop)
    queue.put(Ears(), "record", (1,))
    for count in range(1, 4):
        turn(loop)
        assert recorded == list(range(1, count + 1))


def test_without_a_loop_it_is_drained_by_hand() -> None:
    recorded: list[Any] = []
    queue = EventQueue(lambda *delivery: recorded.append(delivery[2]))
    queue.put(Ears(), "record", (1,))
    queue.drain()
    assert recorded == [(1,)]
