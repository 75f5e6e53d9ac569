"""Lists of handlers: what is taken, what is refused, and what a function is given."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from prefork import InvalidResponse, Kernel, OptionError, Session, UnknownEvent, UnknownSession
from prefork.server.routes import FunctionRoute, Route, check_events, fill, parse

GOOD: dict[str, object] = {"dir": "^/", "session": "PAGES", "event": "page"}


def test_entries_come_back_as_they_were() -> None:
    handlers: list[dict[str, object]] = [
        GOOD,
        GOOD | {"malformed": True},
        GOOD | {"raw": True},
        GOOD | {"session": Session()},
        {"dir": "^/x", "function": print_nothing},
        {"dir": "^/x", "function": print_nothing, "raw": True},
    ]
    assert [route.entry() for route in parse(handlers)] == handlers


def print_nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"dir": None}, "handler 1: expected a text as 'dir', got None"),
        (
            {"session": 7.5},
            "handler 1: expected an alias, a session or its id as 'session', got 7.5",
        ),
        ({"event": None}, "handler 1: expected a text as 'event', got None"),
        (
            {"dir": "a(b"},
            "handler 1: malformed regex 'a(b': missing ), unterminated subpattern at position 1",
        ),
        (
            {"Dir": "^/"},
            "handler 1: unknown key 'Dir'; it is 'dir'; "
            "expected dir, session and event, and optionally malformed and raw",
        ),
        (
            {"folder": "^/"},
            "handler 1: unknown key 'folder'; expected dir, session and event",
        ),
        ({"function": print_nothing, "dir": "["}, "handler 1: malformed regex '['"),
        (
            {"function": "print", "session": None},
            "handler 1: expected an alias, a session or its id as 'session', got None",
        ),
    ],
)
def test_a_wrong_entry_is_named_by_its_place(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(OptionError, match=re.escape(complaint)):
        parse([GOOD, GOOD | wrong])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ([GOOD, "^/"], "handler 1: expected a dict with dir, session and event, got '^/'"),
        ([None], "handler 0: expected a dict with dir, session and event, got None"),
        (GOOD, "handlers: expected a list of dicts, got {"),
        ("^/", "handlers: expected a list of dicts, got '^/'"),
        (None, "handlers: expected a list of dicts, got None"),
    ],
)
def test_what_is_no_list_of_dicts_is_refused(wrong: Any, complaint: str) -> None:
    with pytest.raises(OptionError, match=re.escape(complaint)):
        parse(wrong)


def test_counting_may_begin_later() -> None:
    with pytest.raises(OptionError, match="handler 7: malformed regex"):
        parse([GOOD | {"dir": "*"}], first=7)


def test_every_handler_needs_a_session_or_a_function() -> None:
    kernel = Kernel()
    kernel.session("PAGES", {"page": print_nothing})
    check_events(parse([GOOD, {"dir": "^/", "function": print_nothing}]), kernel)
    with pytest.raises(UnknownSession, match="handler 1: no session has the alias 'NOBODY'"):
        check_events(parse([GOOD, GOOD | {"session": "NOBODY"}]), kernel)
    with pytest.raises(UnknownEvent, match="handler 0: session PAGES has no event 'pages'; it has page"):
        check_events(parse([GOOD | {"event": "pages"}]), kernel)


def call(route: Route, path: str) -> Any:
    request: Any = SimpleNamespace(match=route.search(path))
    response: Any = "the response"
    return route.call(Kernel(), request, response)


def test_a_function_is_given_what_its_parameters_name() -> None:
    def everything(response: Any, year: str, *, request: Any, match: Any, extra: int = 7) -> tuple[Any, ...]:
        return response, year, request.match is match, extra

    route = FunctionRoute(r"^/(?P<year>\d+)/(?P<month>\d+)$", everything)
    assert call(route, "/1987/12") == ("the response", "1987", True, 7)


def test_a_group_that_matched_nothing_is_none() -> None:
    route = FunctionRoute(r"^/(?P<year>\d+)?$", lambda year: year)
    assert call(route, "/") is None


def test_a_default_is_for_parameters_that_no_group_has() -> None:
    assert call(FunctionRoute("^/", lambda page="1": page), "/") == "1"


def test_arguments_of_any_name_are_left_empty() -> None:
    assert call(FunctionRoute("^/", lambda *args, **rest: (args, rest)), "/") == ((), {})


def positional(request: Any, /) -> None:
    """Cannot be called by name."""


@pytest.mark.parametrize(("function", "name"), [(lambda month: month, "month"), (positional, "request")])
def test_a_parameter_that_nothing_fills_is_refused(function: Any, name: str) -> None:
    with pytest.raises(
        OptionError, match=rf"no value for its parameter '{name}'; .* match, request, response, year"
    ):
        FunctionRoute("(?P<year>)", function)


class Blank:
    """A response, as far as it is filled."""

    def __init__(self) -> None:
        self.content: Any = None
        self.content_type: str | None = None


@pytest.mark.parametrize(
    ("value", "content", "content_type"),
    [
        ("text", "text", None),
        (b"bytes", b"bytes", None),
        ({"a": [1, None]}, '{"a": [1, null]}', "application/json"),
        ([], "[]", "application/json"),
        (None, None, None),
    ],
)
def test_what_a_function_returns_fills_the_response(
    value: object, content: Any, content_type: str | None
) -> None:
    response: Any = Blank()
    assert fill(response, value) is None
    assert (response.content, response.content_type) == (content, content_type)


def test_a_type_that_was_said_stays() -> None:
    response: Any = Blank()
    response.content_type = "application/problem+json"
    fill(response, {})
    assert response.content_type == "application/problem+json"


def test_generators_are_handed_back() -> None:
    async def pieces() -> Any:
        yield "piece"

    for generator in (pieces(), (piece for piece in "abc")):
        response: Any = Blank()
        assert fill(response, generator) is generator


@pytest.mark.parametrize("value", [7, object(), ("a",), bytearray(b"x"), True])
def test_anything_else_is_no_response(value: object) -> None:
    response: Any = Blank()
    with pytest.raises(InvalidResponse, match=f"returned {type(value).__name__}: expected str, bytes, dict"):
        fill(response, value)
