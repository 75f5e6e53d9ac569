"""Events, and what they are delivered to.

A recipient's table of events is made once, when the object is: event name -> bound function. To look an event
up is one dictionary access, because it happens once for each HTTP request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar, overload

from prefork.errors import UnknownEvent

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)

_MARK = "_prefork_event"


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


class Recipient:
    """An object with an alias and named events: the part of a `Session` that knows no kernel.

    A subclass marks methods with `@event`. An overridden method needs no second `@event`.
    """

    alias: str | None = None

    _events: ClassVar[dict[str, str]] = {}
    _handlers: dict[str, Handler]

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
        return self

    def __str__(self) -> str:
        return self.alias or type(self).__name__

    def handler(self, event: str) -> Handler | None:
        """The bound function of `event`, or None if there is no such event."""
        return self._handlers.get(event)


def expect_handler(recipient: Recipient, event: str) -> Handler:
    """The bound function of `event`. Raises UnknownEvent, which names the events there are."""
    function = recipient._handlers.get(event)
    if function is None:
        known = ", ".join(sorted(recipient._handlers)) or "none"
        raise UnknownEvent(f"session {recipient} has no event {event!r}; it has {known}")
    return function
