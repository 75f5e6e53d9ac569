"""Which interface an application has is found by how it can be called."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from prefork.errors import TargetError
from prefork.hosting.interface import check, detect, returns_coroutine


def wsgi(environ: Any, start_response: Any) -> Any: ...


def wsgi_with_more(environ: Any, start_response: Any, extra: Any = None, *, name: str = "") -> Any: ...


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_by_a_plain_function(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


async def half_asgi(environ: Any, start_response: Any) -> Any: ...


def configured_asgi(settings: Any, scope: Any, receive: Any, send: Any) -> Any: ...


async def asgi_of_any_arguments(*args: Any) -> None: ...


class Flasky:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def handler(self, environ: Any, start_response: Any) -> Any: ...


class Starry:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class AppClass:
    """As in PEP 3333: calling it makes the iterable."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Any: ...


class Endpoint:
    """As Starlette's HTTPEndpoint: calling it makes what is awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


class Called(Endpoint):
    """Its instances are awaited; that they can be called as well does not matter."""

    async def __call__(self) -> None: ...


class OfOld:
    """ASGI 2."""

    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("application", "interface"),
    [
        (wsgi, "wsgi"),
        (asgi, "asgi"),
        (asgi_by_a_plain_function, "asgi"),
        (asgi_of_any_arguments, "asgi"),
        (functools.partial(asgi), "asgi"),
        (functools.partial(configured_asgi, {}), "asgi"),
        (Flasky(), "wsgi"),
        (Flasky().handler, "wsgi"),
        (Starry(), "asgi"),
        (AppClass, "wsgi"),
        (Endpoint, "asgi"),
    ],
)
def test_an_application_is_what_it_can_be_called_with(application: Any, interface: str) -> None:
    assert detect(application, "app") == interface


@pytest.mark.parametrize(
    ("application", "gives"),
    [
        (asgi, True),
        (Starry(), True),
        (functools.partial(asgi), True),
        (functools.partial(Starry()), True),
        (functools.partial(functools.partial(Starry())), True),
        (asgi_by_a_plain_function, False),
        (wsgi, False),
        (Flasky(), False),
        (Endpoint, False),
        (Called, False),
        (functools.partial(Called), False),
    ],
)
def test_what_returns_coroutine_runs_nothing_when_it_is_called(application: Any, gives: bool) -> None:
    assert returns_coroutine(application) is gives


def no_arguments() -> None: ...


def anything(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (42, "app is of type int, which cannot be called; expected a WSGI application"),
        (Flasky, r"app is the class Flasky\(\); .* use --factory"),
        (no_arguments, r"app is no_arguments\(\) -> 'None'; .* use --factory"),
        (anything, "app can be called as WSGI and as ASGI; choose one with --interface"),
        (wsgi_with_more, "as WSGI and as ASGI; choose one"),
        (half_asgi, r"app is half_asgi\(environ.* expected a WSGI application"),
        (OfOld, r"app is the class OfOld\(scope.* If it is of ASGI 2, .* makes it ASGI 3"),
    ],
)
def test_what_is_none_is_described_in_the_error(other: Any, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        detect(other, "app")


@pytest.mark.parametrize(
    ("application", "interface"),
    [(wsgi_with_more, "wsgi"), (anything, "asgi"), (Endpoint, "asgi"), (dict.get, "wsgi")],
)
def test_the_operator_is_believed(application: Any, interface: str) -> None:
    check(application, interface, "app")


@pytest.mark.parametrize(
    ("application", "interface", "complaint"),
    [
        (
            wsgi,
            "asgi",
            r"app is wsgi\(.*; --interface asgi expects a callable with \(scope, receive, send\)",
        ),
        (
            asgi,
            "wsgi",
            r"app is asgi\(.*; --interface wsgi expects a callable with \(environ, start_resp",
        ),
        (OfOld, "asgi", "app is the class OfOld"),
        (42, "wsgi", "app is of type int; --interface wsgi expects"),
    ],
)
def test_the_operator_is_not_believed_what_cannot_be(
    application: Any, interface: str, complaint: str
) -> None:
    with pytest.raises(TargetError, match=complaint):
        check(application, interface, "app")
