"""Variables by which hosting platforms say where to listen and how many workers there should be.

Heroku, Cloud Run, Render, Fly and others set them, and gunicorn heeds them. They are weaker than all sources
of options of our own, the code included, and stronger than defaults.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefork.config.values import Reader, integer
from prefork.errors import OptionError

PORT = "PORT"
WEB_CONCURRENCY = "WEB_CONCURRENCY"


def port(variables: Mapping[str, str]) -> int | None:
    """The port to listen on, on each IPv4 address. None without the variable. Raises OptionError."""
    return _read(PORT, integer(0, 65535), variables)


def workers(variables: Mapping[str, str]) -> int | None:
    """The fixed number of workers. None without the variable. Raises OptionError."""
    return _read(WEB_CONCURRENCY, integer(1, 65535), variables)


def _read(name: str, read: Reader[int], variables: Mapping[str, str]) -> int | None:
    value = variables.get(name)
    if not value:  # an empty variable is unset
        return None
    try:
        return read(value.strip())
    except ValueError as expected:
        raise OptionError(f"{name}: expected {expected}, got {value!r}") from None
