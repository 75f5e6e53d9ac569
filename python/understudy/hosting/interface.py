"""Which interface an application speaks, told from how it can be called.

It looks and never calls: what a call of somebody's application does is not ours to find out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from understudy.errors import TargetError

SIGNATURES = {2: "wsgi", 3: "asgi"}
"""How many arguments an application is called with: (environ, start_response) or (scope, receive, send)."""


def detect(application: object, place: str) -> str:
    """`wsgi` or `asgi`. Raises TargetError, which says what `place` names instead."""
    if not callable(application):
        raise TargetError(f"{place} is a {type(application).__name__}, which cannot be called; {EXPECTED}")
    if inspect.isclass(application):
        raise TargetError(
            f"{place} is a class; {EXPECTED}. If calling it makes the application, say --factory"
        )
    if _is_async(application):
        return "asgi"
    taken = [count for count in SIGNATURES if _takes(application, count)]
    if len(taken) == 1:
        return SIGNATURES[taken[0]]
    if taken:
        raise TargetError(f"{place} can be called as WSGI and as ASGI; say which by --interface")
    about = _signature(application)
    raise TargetError(
        f"{place} is {getattr(application, '__name__', type(application).__name__)}{about}; {EXPECTED}. "
        "If calling it makes the application, say --factory"
    )


EXPECTED = (
    "expected a WSGI application (environ, start_response), an ASGI application (scope, receive, send), "
    "a PreForkServer, an HTTPServer or a Kernel"
)


def _is_async(application: Callable[..., Any]) -> bool:
    while isinstance(application, functools.partial):
        application = application.func
    return inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(
        getattr(application, "__call__", None)  # noqa: B004  (it is callable; what of its method?)
    )


def _takes(application: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(application).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return count == 2  # no signature, as of some native functions: those are of WSGI's age
    return True


def _signature(application: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(application))
    except ValueError:
        return ""
