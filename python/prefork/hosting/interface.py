"""Which interface an application has, found by how it can be called. Nothing here calls it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from prefork.errors import TargetError

ARGUMENTS = {"wsgi": ("environ", "start_response"), "asgi": ("scope", "receive", "send")}
"""The arguments that an application is called with."""

INSTANCES = {"wsgi": "__iter__", "asgi": "__await__"}
"""What the instances of a class must have that is itself an application: the call makes the response."""

EXPECTED = (
    "expected a WSGI application (environ, start_response), an ASGI application (scope, receive, send), "
    "a PreForkServer, an HTTPServer or a Kernel"
)


def detect(application: object, place: str) -> str:
    """`wsgi` or `asgi`. Raises TargetError, which names what was found at `place` instead."""
    if not callable(application):
        raise TargetError(
            f"{place} is of type {type(application).__name__}, which cannot be called; {EXPECTED}"
        )
    is_class = inspect.isclass(application)
    # A native function without a signature is taken for WSGI, unless it is async.
    likely = ("asgi",) if returns_coroutine(application) else ("wsgi", "asgi")
    found = [
        interface
        for interface in likely
        if accepts(application, ARGUMENTS[interface], unknown=interface == likely[0])
        and (not is_class or hasattr(application, INSTANCES[interface]))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise TargetError(f"{place} can be called as WSGI and as ASGI; choose one with --interface")
    raise TargetError(f"{place} is {describe(application)}; {EXPECTED}. {_hint(application)}")


def is_application(value: object, module: str) -> bool:
    """Whether it looks like an application that is meant to be served, and not like a helper of one.

    A function must be of this module and have the names of the specification.
    """
    try:
        if inspect.isfunction(value):
            names = tuple(inspect.signature(value).parameters)
            return value.__module__ == module and names in ARGUMENTS.values()
        if inspect.isclass(value) or not callable(value):
            return False
        detect(value, "")
    except Exception:  # also what a proxy raises that stands for nothing yet
        return False
    return True


def check(application: object, interface: str, place: str) -> None:
    """Raises TargetError if the application cannot be called as `--interface` requires."""
    arguments = ARGUMENTS[interface]
    if not callable(application) or not accepts(application, arguments):
        raise TargetError(
            f"{place} is {describe(application)}; --interface {interface} expects a callable with "
            f"({', '.join(arguments)})"
        )


def accepts(application: Callable[..., Any], arguments: tuple[str, ...], *, unknown: bool = True) -> bool:
    """Whether it can be called with so many arguments; `unknown` if it has no signature, as some native
    functions.
    """
    try:
        inspect.signature(application).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return unknown
    return True


def returns_coroutine(application: Callable[..., Any]) -> bool:
    """Whether a call of it runs nothing yet, because its work is done when the coroutine is awaited."""
    while isinstance(application, functools.partial):
        application = application.func
    if inspect.isclass(application):
        return False  # a call makes an instance
    call = getattr(application, "__call__", None)  # noqa: B004  (the method itself is needed)
    return inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(call)


def describe(found: object) -> str:
    """An object in an error message, as its author knows it."""
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
            return "If it is of ASGI 2, asgiref.compatibility.guarantee_single_callable makes it ASGI 3"
    except ValueError:
        pass
    return "If calling it makes the application, use --factory"
