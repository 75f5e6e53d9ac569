"""What the settings of a project say about what is to be served.

Always: a target has the form that `prefork serve` takes. It must not know commands or options.
"""

from __future__ import annotations

import importlib.util
import os
from typing import NamedTuple

from django.apps import apps
from django.conf import settings

LOCAL = "/"
"""What begins a STATIC_URL that is on this server."""


class Place(NamedTuple):
    """A target of `prefork serve`, and whether it is a factory."""

    target: str
    is_factory: bool = False


def _of_setting(dotted: str) -> Place:
    module, _, name = dotted.rpartition(".")
    return Place(f"{module}:{name}")


def wsgi_place() -> Place:
    """WSGI_APPLICATION; without it, Django's own."""
    if settings.WSGI_APPLICATION:
        return _of_setting(settings.WSGI_APPLICATION)
    return Place("django.core.wsgi:get_wsgi_application", is_factory=True)


def asgi_place() -> Place:
    """ASGI_APPLICATION, or `asgi.py` beside the root URLconf or the WSGI application; without them, Django's
    own.
    """
    if dotted := getattr(settings, "ASGI_APPLICATION", None):
        return _of_setting(dotted)
    for beside in (settings.ROOT_URLCONF, settings.WSGI_APPLICATION or ""):
        package = beside.partition(".")[0]
        if package and importlib.util.find_spec(package) and importlib.util.find_spec(f"{package}.asgi"):
            return Place(f"{package}.asgi:application")
    return Place("django.core.asgi:get_asgi_application", is_factory=True)


def debug_place(*, asgi: bool) -> Place:
    """The application with the static files that the finders find."""
    return Place(f"prefork.contrib.django.debug:{'asgi' if asgi else 'wsgi'}", is_factory=True)


class StaticFiles(NamedTuple):
    """How static files are served."""

    by_finders: bool = False
    """The application finds them, in the apps."""
    mount: str = ""
    """`/prefix=directory`, if the server serves them."""
    why_not: str = ""
    """If neither: why, and what to do. Empty if the project has no static files here."""


def static_files() -> StaticFiles:
    """As the settings have it: with DEBUG by finders, and otherwise STATIC_ROOT at STATIC_URL."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return StaticFiles()
    url = settings.STATIC_URL or ""
    if not url.startswith(LOCAL) or url.startswith("//"):
        return StaticFiles()  # another server has them
    if settings.DEBUG:
        return StaticFiles(by_finders=True)
    if not settings.STATIC_ROOT:
        return StaticFiles(why_not="STATIC_ROOT is not set: set it, and run 'manage.py collectstatic'")
    root = os.path.abspath(settings.STATIC_ROOT)
    if not os.path.isdir(root):
        return StaticFiles(why_not=f"STATIC_ROOT, {root}, is not there: run 'manage.py collectstatic'")
    prefix = url.rstrip("/")
    if not prefix:
        return StaticFiles(why_not="STATIC_URL is '/', which has every path: set another one")
    return StaticFiles(mount=f"{prefix}={root}")
