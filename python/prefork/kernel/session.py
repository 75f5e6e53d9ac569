"""Sessions: objects with an alias and named events, as in POE.

A session's table of events is made once, when the object is: event name -> bound function. Looking an event
up is one dictionary access, because it happens once for each HTTP request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from prefork.errors import UnknownSession

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.kernel.timer import Timer

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


class Session:
    """A named holder of events. Subclass it and mark methods with `@event`.

    `alias`, on the class or on the object, is the name others post to; `Kernel.add` registers it. `kernel` is
    None until then, and again after `Kernel.remove`. An overridden method needs no second `@event`.

    Two events are called by the kernel: `_start` when it runs (at once for a session added while it runs) and
    `_stop` when it ends or the session is removed. A forked child inherits what `_start` made, if it was
    synchronous, and has a `_stop` of its own.
    """

    alias: str | None = None
    kernel: Kernel = None  # type: ignore[assignment]  # users write self.kernel.post, not assert ... is not None

    _events: ClassVar[dict[str, str]] = {}
    _handlers: dict[str, Handler]
    _delays: dict[str, Timer]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._events = {
            mark: attribute
            for home in reversed(cls.__mro__)
            for attribute, value in vars(home).items()
            if isinstance(mark := getattr(value, _MARK, None), str)
        }

    def __new__(cls, *_args: Any, **_options: Any) -> Self:
        # Not in __init__: a subclass that forgets super().__init__() would have no events.
        self = super().__new__(cls)
        self._handlers = {name: getattr(self, attribute) for name, attribute in cls._events.items()}
        self._delays = {}
        return self

    def __str__(self) -> str:
        return self.alias or type(self).__name__

    def handler(self, event: str) -> Handler | None:
        """The bound function of `event`, or None if the session has no such event."""
        return self._handlers.get(event)

    def post(self, event: str, *args: Any) -> bool:
        """Queues an event to oneself (POE's `yield`). False if the session has no such event."""
        return self.kernel._enqueue(self, event, args)

    def delay(self, event: str, seconds: float | None = None, *args: Any) -> Timer | None:
        """Calls `event` of this session once, in `seconds`; there is one such timer for each event name.

        It replaces the one that was set; without `seconds` it only clears that. Raises UnknownEvent.
        """
        if (previous := self._delays.pop(event, None)) is not None:
            previous.cancel()
        if seconds is None:
            return None
        timer = self._delays[event] = self.kernel._set_timer(self, event, seconds, args)
        return timer

    def alias_set(self, name: str) -> None:
        """Makes `name` one more alias of this session. Raises OptionError if another session has it."""
        self.kernel._name(self, name)

    def alias_remove(self, name: str) -> None:
        """Gives up one alias of this session. Raises UnknownSession if it is not this session's."""
        if self.kernel.find(name) is not self:
            raise UnknownSession(f"session {self} has no alias {name!r}")
        del self.kernel._aliases[name]
