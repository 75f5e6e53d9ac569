"""Events, and what they are delivered to.

A recipient's table of events is made once, when the object is: event name -> bound function. To look an event
up is one dictionary access, because it happens once for each HTTP request.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar, overload

from prefork.errors import PreforkError, UnknownEvent

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)

_MARK = "_prefork_event"
_ids = itertools.count(1)

START, STOP, DEFAULT = "_start", "_stop", "_default"
"""The events that the kernel itself calls."""


@overload
def event(function: F, /) -> F: ...
@overload
def event(name: str, /) -> Callable[[F], F]: ...


def event(function_or_name: Handler | str, /) -> Handler:
    """Marks a method of a `Session` as an event: `@event` under its own name, `@event("DONE")` under another.

    The method may be `async`; the kernel then runs it as a task.
    """
    if not isinstance(function_or_name, str):
        return event(function_or_name.__name__)(function_or_name)

    def mark(function: F) -> F:
        setattr(function, _MARK, function_or_name)
        return function

    return mark


class _Id:
    """Reads the number of a recipient. Not a property: a subclass may have an `id` of its own."""

    def __get__(self, recipient: Recipient, _kind: type) -> int:
        return recipient._id


class Recipient:
    """An object with an alias and named events: the part of a `Session` that knows no kernel.

    A subclass marks methods with `@event`. An overridden method needs no second `@event`. The event
    `_default` gets every event that has no handler of its own: its name, and its arguments as one tuple.
    """

    alias: str | None = None

    id = _Id()
    """A number that no other session of this process has. It can be used as an alias is."""

    _events: ClassVar[dict[str, str]] = {}
    _handlers: dict[str, Handler]
    _id: int

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._events = {
            mark: attribute
            for home in reversed(cls.__mro__)
            for attribute, value in vars(home).items()
            if isinstance(mark := getattr(value, _MARK, None), str)
        }

    def __new__(cls, *_args: Any, **_options: Any) -> Self:
        # Not in __init__: a subclass that does not call super().__init__() would have no events.
        self = super().__new__(cls)
        self._handlers = {name: getattr(self, attribute) for name, attribute in cls._events.items()}
        self._id = next(_ids)
        return self

    def __str__(self) -> str:
        return self.alias or type(self).__name__

    def _misuse(self, event: str, args: tuple[Any, ...]) -> PreforkError | None:  # noqa: ARG002
        """What is wrong with the arguments of an event that failed; None if they fit, or it is not known."""
        return None

    def on(self, event: str, function: Handler) -> None:
        """Makes `function` the handler of an event."""
        self._handlers[event] = function

    def off(self, event: str) -> None:
        """Removes the handler of an event. Nothing happens without one."""
        self._handlers.pop(event, None)

    def handler(self, event: str) -> Handler | None:
        """What runs on `event`: its bound function, or `_default`. None if there is neither."""
        function = self._handlers.get(event)
        if function is not None or event in (START, STOP):
            return function
        default = self._handlers.get(DEFAULT)
        return None if default is None else lambda *args: default(event, args)


def expect_handler(recipient: Recipient, event: str) -> Handler:
    """What runs on `event`. Raises UnknownEvent, which names the events there are."""
    function = recipient.handler(event)
    if function is None:
        known = ", ".join(sorted(recipient._handlers)) or "none"
        raise UnknownEvent(f"session {recipient} has no event {event!r}; it has {known}")
    return function
