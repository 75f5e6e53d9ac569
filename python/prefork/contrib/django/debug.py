"""The project's application while DEBUG is on: it finds static files where the apps have them, as runserver
does. A worker imports this module.
"""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.servers.basehttp import get_internal_wsgi_application
from django.utils.module_loading import import_string

from prefork.contrib.django.project import asgi_place


def wsgi() -> Any:
    """The WSGI application of the project, with its static files."""
    return StaticFilesHandler(get_internal_wsgi_application())


def asgi() -> Any:
    """The ASGI application of the project, with its static files."""
    place, is_factory = asgi_place()
    found = import_string(place.replace(":", "."))
    return ASGIStaticFilesHandler(found() if is_factory else found)
