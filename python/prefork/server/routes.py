"""Which handler serves which path: the list of handlers, and calling one.

A route names an event of a session, or is a function. Always: a list of routes was checked whole before any
of it is used, and a wrong entry is named by its place in the list.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefork.errors import InvalidResponse, OptionError, UnknownEvent, UnknownSession
from prefork.kernel.delivery import Target
from prefork.kernel.kernel import Session
from prefork.server.streaming import Parts

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.kernel.kernel import Kernel


class Route:
    """A pattern and its handler: an event of a session, looked up at each request."""

    __slots__ = ("dir", "event", "malformed", "raw", "search", "session")

    responds = False
    """Whether what the handler returns is the response; an event responds by itself, at any time."""

    def __init__(
        self,
        dir: str,  # noqa: A002
        session: Target,
        event: str,
        *,
        malformed: bool = False,
        raw: bool = False,
    ) -> None:
        self.dir = dir
        self.search = re.compile(dir).search
        self.session = session
        self.event = event
        self.malformed = malformed
        self.raw = raw
        """Whether the pattern is searched in the path as it came, not decoded."""

    def __str__(self) -> str:
        return f"{self.session}.{self.event}"

    def check_event(self, kernel: Kernel) -> None:
        """Raises UnknownSession or UnknownEvent if there is no such event."""
        kernel.resolve(self.session, self.event)

    def call(self, kernel: Kernel, request: Request | None, response: Response) -> Any:
        """Runs the event. Raises UnknownSession, UnknownEvent and what the event raises."""
        _, function = kernel.resolve(self.session, self.event)
        return function(request, response, self.dir)

    def entry(self) -> dict[str, object]:
        """The route as it is written in `handlers`."""
        entry: dict[str, object] = {"dir": self.dir, "session": self.session, "event": self.event}
        return entry | self._marks()

    def _marks(self) -> dict[str, object]:
        marks = {"malformed": self.malformed, "raw": self.raw}
        return {name: True for name, is_set in marks.items() if is_set}


class FunctionRoute(Route):
    """A pattern and a plain function, as `@server.handle` makes it.

    The function is given what its parameters name: `request`, `response`, `match` and the named groups of the
    pattern. What it returns is the response: str or bytes are the content, a dict or a list is sent as JSON,
    a generator is streamed, None leaves `response` as the function filled it.
    """

    __slots__ = ("function", "names")

    responds = True

    def __init__(self, dir: str, function: Callable[..., Any], *, raw: bool = False) -> None:  # noqa: A002
        super().__init__(dir, "function", getattr(function, "__qualname__", repr(function)), raw=raw)
        self.function = function
        given = {"request", "response", "match"} | re.compile(dir).groupindex.keys()
        self.names = []
        for name, parameter in inspect.signature(function).parameters.items():
            if name in given and parameter.kind is not parameter.POSITIONAL_ONLY:
                self.names.append(name)
            elif parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                raise OptionError(
                    f"handler {self}: no value for its parameter {name!r}; "
                    f"its parameters may be {', '.join(sorted(given))}"
                )

    def check_event(self, kernel: Kernel) -> None:
        """A function needs no check."""

    def call(self, kernel: Kernel, request: Request | None, response: Response) -> Any:  # noqa: ARG002
        match = request.match if request is not None else None
        given: dict[str, Any] = {"request": request, "response": response, "match": match}
        if match is not None:
            given |= match.groupdict()
        return self.function(**{name: given[name] for name in self.names})

    def entry(self) -> dict[str, object]:
        return {"dir": self.dir, "function": self.function} | self._marks()


def parse(handlers: Iterable[Mapping[str, object]], *, first: int = 0) -> list[Route]:
    """Checks a list of handlers.

    Raises OptionError, which names the handler by its place in the list, counted from `first` (0, as Python
    does).
    """
    if isinstance(handlers, str | Mapping) or not isinstance(handlers, Iterable):
        raise OptionError(f"handlers: expected a list of dicts, got {handlers!r}")
    return [_route(f"handler {number}", entry) for number, entry in enumerate(handlers, first)]


KEYS = ("dir", "session", "event", "malformed", "raw", "function")


def _route(where: str, entry: object) -> Route:
    if not isinstance(entry, Mapping):
        raise OptionError(f"{where}: expected a dict with dir, session and event, got {entry!r}")
    if unknown := [str(key) for key in entry if key not in KEYS]:
        key = min(unknown)
        hint = f"; it is {key.lower()!r}" if key.lower() in KEYS else ""
        raise OptionError(
            f"{where}: unknown key {key!r}{hint}; "
            "expected dir, session and event, and optionally malformed and raw"
        )
    function = entry.get("function")
    texts = ("dir",) if callable(function) else ("dir", "event")
    for key in texts:
        if not isinstance(entry.get(key), str):
            raise OptionError(f"{where}: expected a text as {key!r}, got {entry.get(key)!r}")
    session = entry.get("session")
    pattern, raw = str(entry["dir"]), bool(entry.get("raw"))
    try:
        if callable(function):
            return FunctionRoute(pattern, function, raw=raw)
        if not isinstance(session, str | int | Session):
            raise OptionError(
                f"{where}: expected an alias, a session or its id as 'session', got {session!r}"
            )
        malformed = bool(entry.get("malformed"))
        return Route(pattern, session, str(entry["event"]), malformed=malformed, raw=raw)
    except re.error as error:
        place = "" if error.pos is None else f" at position {error.pos}"
        raise OptionError(f"{where}: malformed regex {pattern!r}: {error.msg}{place}") from None


def check_events(routes: Iterable[Route], kernel: Kernel) -> None:
    """Checks that every handler exists. Raises UnknownSession and UnknownEvent."""
    for number, route in enumerate(routes):
        try:
            route.check_event(kernel)
        except (UnknownSession, UnknownEvent) as error:
            raise type(error)(f"handler {number}: {error}") from None


def fill(response: Response, value: object) -> Parts | None:
    """Puts what a function returned into the response; a generator is returned instead.

    Raises InvalidResponse for anything that is no response.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes):
        response.content = value
    elif isinstance(value, dict | list):
        response.content = json.dumps(value)
        if response.content_type is None:
            response.content_type = "application/json"
    elif isinstance(value, AsyncGenerator | Generator):
        return value
    else:
        raise InvalidResponse(
            f"the handler returned {type(value).__name__}: "
            "expected str, bytes, dict, list, a generator or None"
        )
    return None
