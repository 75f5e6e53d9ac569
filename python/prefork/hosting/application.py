"""From an application to a service of a server."""

from __future__ import annotations

import inspect
from typing import Any

from prefork.config.options import AppOptions
from prefork.errors import TargetError
from prefork.hosting.interface import ARGUMENTS, describe, detect, insist, takes
from prefork.server.server import HTTPServer


def host(server: HTTPServer, application: Any, options: AppOptions, place: str) -> None:
    """Has `server` serve an application that `place` names. Raises TargetError for what is none."""
    interface = options.interface
    if interface in ARGUMENTS:
        insist(application, interface, place)
    else:
        interface = detect(application, place)
    if options.interface == "events":
        raise TargetError(
            f"{place} looks like {interface.upper()}; --interface events expects a Kernel or a server"
        )
    # Of the two only the one that is needed: what is imported here is in every worker's memory.
    if interface == "wsgi":
        from prefork.hosting.wsgi import WSGIService

        server.serve_with(WSGIService(server, application, options))
    else:
        from prefork.hosting.asgi import ASGIService

        server.serve_with(ASGIService(server, application, options))


def make(factory: Any, place: str) -> Any:
    """What a factory makes. Raises TargetError if it is none; what it raises is its own."""
    if not callable(factory) or not takes(factory, ()):
        raise TargetError(f"{place} is {describe(factory)}; --factory expects a function without arguments")
    if inspect.iscoroutinefunction(factory):
        raise TargetError(
            f"{place} is a coroutine function; --factory expects one that returns the application"
        )
    return factory()
