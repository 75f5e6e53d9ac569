"""From an application to a service of a server."""

from __future__ import annotations

from typing import Any

from understudy.errors import TargetError
from understudy.hosting.asgi import ASGIService
from understudy.hosting.interface import detect
from understudy.hosting.wsgi import WSGIService
from understudy.options import AppOptions
from understudy.server import HTTPServer

APPLICATIONS = {"wsgi": WSGIService, "asgi": ASGIService}
"""The service of each interface that others write applications for."""


def host(server: HTTPServer, application: Any, options: AppOptions, place: str) -> None:
    """Has `server` serve an application that `place` names. Raises TargetError for what is none."""
    interface = options.interface
    if interface not in APPLICATIONS:
        interface = detect(application, place)
    if options.interface == "events":
        raise TargetError(
            f"{place} looks like {interface.upper()}; --interface events expects a Kernel or a server"
        )
    server.serve_with(APPLICATIONS[interface](server, application, options))


def make(factory: Any, place: str) -> Any:
    """What a factory makes. Raises TargetError if it is none; what it raises is its own."""
    if not callable(factory):
        raise TargetError(
            f"{place} is a {type(factory).__name__}; --factory expects a function without arguments"
        )
    return factory()
