"""Which interface an application speaks is told from how it can be called."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from understudy.errors import TargetError
from understudy.hosting.interface import detect


def wsgi(environ: Any, start_response: Any) -> Any: ...


def wsgi_with_more(environ: Any, start_response: Any, extra: Any = None, *, name: str = "") -> Any: ...


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_by_a_plain_function(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


def configured_asgi(settings: Any, scope: Any, receive: Any, send: Any) -> Any: ...


async def asgi_of_any_arguments(*args: Any) -> None: ...


class Flasky:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def handler(self, environ: Any, start_response: Any) -> Any: ...


class Starry:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


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
    ],
)
def test_an_application_is_what_it_can_be_called_with(application: Any, interface: str) -> None:
    assert detect(application, "app") == interface


def no_arguments() -> None: ...


def anything(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (42, "app is a int, which cannot be called; expected a WSGI application"),
        (Flasky, "app is a class; .* say --factory"),
        (no_arguments, r"app is no_arguments\(\) -> 'None'; .* say --factory"),
        (anything, "app can be called as WSGI and as ASGI; say which by --interface"),
        (wsgi_with_more, "as WSGI and as ASGI; say which"),
    ],
)
def test_what_is_none_is_told_what_it_is(other: Any, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        detect(other, "app")
