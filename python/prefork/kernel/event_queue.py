"""The events that are posted and not yet delivered. The queue belongs to one process and one run."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import Any

from prefork.kernel.events import Recipient

Delivery = tuple[Recipient, str, tuple[Any, ...]]
"""Session, event, arguments."""


class EventQueue:
    """`deliver` runs one event. Delivery begins with the loop that is attached."""

    def __init__(self, deliver: Callable[[Any, str, tuple[Any, ...]], object]) -> None:
        self._deliver = deliver
        self._events: deque[Delivery] = deque()
        self.delivered = 0
        """How many events have been delivered."""
        self._loop: AbstractEventLoop | None = None
        self._is_scheduled = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, session: Recipient, event: str, args: tuple[Any, ...]) -> bool:
        """Appends an event. False if the session has no such event."""
        if event not in session._handlers and session.handler(event) is None:
            return False
        self._events.append((session, event, args))
        if not self._is_scheduled and self._loop is not None:
            self._is_scheduled = True
            self._loop.call_soon(self.drain)
        return True

    def sessions(self) -> set[int]:
        """The numbers of the sessions that have an event here."""
        return {session._id for session, _, _ in self._events}

    def attach(self, loop: AbstractEventLoop) -> None:
        """Delivers on `loop` from now on, also what was posted before."""
        self._loop = loop
        if self._events:
            self._is_scheduled = True
            loop.call_soon(self.drain)

    def abandon(self) -> None:
        """In a child that the application forked: the events are its parent's."""
        self._parents, self._events = self._events, deque()  # kept: what is freed may run

    def drain(self) -> None:
        """Delivers what is queued now."""
        # Not what these events post: events that post each other must not starve the sockets.
        for _ in range(len(self._events)):
            if not self._events:
                return  # one of them forked, and this is its child
            self.delivered += 1
            self._deliver(*self._events.popleft())
        self._is_scheduled = bool(self._events)
        if self._is_scheduled and self._loop is not None:
            self._loop.call_soon(self.drain)
