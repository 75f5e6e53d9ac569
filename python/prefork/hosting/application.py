"""From an application to the service of a server."""

from __future__ import annotations

import inspect
from typing import Any

from prefork.config.options import AppOptions
from prefork.errors import TargetError
from prefork.hosting.interface import ARGUMENTS, accepts, check, describe, detect
from prefork.server.server import HTTPServer


def host(server: HTTPServer, application: Any, options: AppOptions, place: str) -> None:
    """Has `server` serve the application found at `place`. Raises TargetError if it is none."""
    interface = options.interface
    if interface in ARGUMENTS:
        check(application, interface, place)
    else:
        interface = detect(application, place)
    if options.interface == "events":
        raise TargetError(
            f"{place} looks like {interface.upper()}; --interface events expects a Kernel or a server"
        )
    # Only what is needed is imported: it stays in the memory of every worker.
    if interface == "wsgi":
        from prefork.hosting.wsgi import WSGIService

        server.service = WSGIService(application, options)
        return
    from prefork.hosting.asgi import ASGIService

    if options.loop == "uvloop":
        from prefork.hosting.loops import use_uvloop

        use_uvloop(server)
    server.service = ASGIService(application, options)


def call_factory(factory: Any, place: str) -> Any:
    """The application that a factory makes. Raises TargetError if it is none, and what the call raises."""
    if not callable(factory) or not accepts(factory, ()):
        raise TargetError(f"{place} is {describe(factory)}; --factory expects a function without arguments")
    if inspect.iscoroutinefunction(factory):
        raise TargetError(
            f"{place} is a coroutine function; --factory expects one that returns the application"
        )
    return factory()
