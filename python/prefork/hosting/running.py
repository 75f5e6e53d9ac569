"""`prefork.run`: to serve an application from a program, as `prefork serve` does from a shell."""

from __future__ import annotations

from typing import Any


def run(application: Any, **options: object) -> None:
    """Serves a WSGI or ASGI application, or what `prefork serve` calls its target, until a signal ends it.

    `application` is that itself, or where it is: `"module:app"`. The options are those of the command line,
    with underscores: `run(app, bind="0.0.0.0:8000", workers=4)`. Raises PreforkError.
    """
    from prefork.config.sources import from_keywords
    from prefork.hosting.serving import run as serve  # here: a program of sessions does without all that

    serve(application, from_keywords(options))
