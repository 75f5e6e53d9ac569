"""Which interface an application speaks, told from how it can be called.

It looks and never calls: what a call of somebody's application does is not ours to find out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from prefork.errors import TargetError

ARGUMENTS = {"wsgi": ("environ", "start_response"), "asgi": ("scope", "receive", "send")}
"""What an application is called with."""

INSTANCES = {"wsgi": "__iter__", "asgi": "__await__"}
"""The method of the instances of a class that is itself an application: the call makes what answers."""

EXPECTED = (
    "expected a WSGI application (environ, start_response), an ASGI application (scope, receive, send), "
    "a PreForkServer, an HTTPServer or a Kernel"
)


def detect(application: object, place: str) -> str:
    """`wsgi` or `asgi`. Raises TargetError, which says what `place` names instead."""
    if not callable(application):
        raise TargetError(
            f"{place} is of type {type(application).__name__}, which cannot be called; {EXPECTED}"
        )
    is_class = inspect.isclass(application)
    # Native functions that do not tell how they are called are of WSGI's age, unless they are async.
    likely = ("asgi",) if gives_coroutines(application) else ("wsgi", "asgi")
    spoken = [
        interface
        for interface in likely
        if takes(application, ARGUMENTS[interface], unknown=interface == likely[0])
        and (not is_class or hasattr(application, INSTANCES[interface]))
    ]
    if len(spoken) == 1:
        return spoken[0]
    if spoken:
        raise TargetError(f"{place} can be called as WSGI and as ASGI; say which by --interface")
    raise TargetError(f"{place} is {describe(application)}; {EXPECTED}. {_hint(application)}")


def insist(application: object, interface: str, place: str) -> None:
    """Raises TargetError if the application cannot be called as the operator says."""
    arguments = ARGUMENTS[interface]
    if not callable(application) or not takes(application, arguments):
        raise TargetError(
            f"{place} is {describe(application)}; --interface {interface} expects what can be called with "
            f"({', '.join(arguments)})"
        )


def takes(application: Callable[..., Any], arguments: tuple[str, ...], *, unknown: bool = True) -> bool:
    """Whether it can be called with as many; `unknown` if nobody can tell, as of some native functions."""
    try:
        inspect.signature(application).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return unknown
    return True


def gives_coroutines(application: Callable[..., Any]) -> bool:
    """Whether calling it runs nothing yet: what it does is done when the coroutine is awaited."""
    while isinstance(application, functools.partial):
        application = application.func
    if inspect.isclass(application):
        return False  # what a call gives is an instance, whatever that can do
    call = getattr(application, "__call__", None)  # noqa: B004  (an object's, not whether there is one)
    return inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(call)


def describe(found: object) -> str:
    """An object as its author knows it."""
    if not callable(found):
        return f"of type {type(found).__name__}"
    try:
        signature = str(inspect.signature(found))
    except ValueError:
        signature = ""
    about = f"{getattr(found, '__name__', type(found).__name__)}{signature}"
    return f"the class {about}" if inspect.isclass(found) else about


def _hint(application: Callable[..., Any]) -> str:
    try:
        if [*inspect.signature(application).parameters] == ["scope"]:
            return "If it speaks ASGI 2, asgiref.compatibility.guarantee_single_callable makes it ASGI 3"
    except ValueError:
        pass
    return "If calling it makes the application, say --factory"
