"""The access log: a line for each response, which the engine writes (`AccessLog` in `_engine.pyi`).

What is here says where the lines go. It must not know requests and responses.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from prefork._engine import AccessLog, access_log_fault
from prefork.errors import OptionError

STANDARD = {"-": "stdout", "/dev/stdout": "stdout", "/dev/stderr": "stderr"}
"""Paths of the standard streams. To open those of /dev fails for a socket, and for a pipe of another user."""

NUMBERS = {"stdout": 1, "stderr": 2}
"""Their descriptors, if the program has replaced the stream by one that has none."""


def check_format(form: str, source: str) -> None:
    """Raises OptionError for a format that cannot be used. `source` is what the user calls the option."""
    fault = access_log_fault(form)
    if fault is not None:
        from prefork.logs.access_log_format import explain

        raise OptionError(f"{source}: {explain(*fault)}")


def access_log(path: str, form: str = "combined", skip: Sequence[str] = ()) -> AccessLog:
    """The log at a path; "-" is standard output. Raises OptionError."""
    try:
        return AccessLog(_descriptor(STANDARD[path]) if path in STANDARD else path, form, list(skip))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise OptionError(f"access log {path} cannot be written: {why}") from None


def check_file(path: str) -> None:
    """Raises OptionError if this process cannot write the log at a path. Nothing is written."""
    if path in STANDARD:
        return
    place = path if os.path.lexists(path) else os.path.dirname(os.path.abspath(path))
    if place == path and os.path.isdir(path):
        raise OptionError(f"access log {path} cannot be written: {os.strerror(errno.EISDIR)}")
    if not os.path.exists(place) or not os.access(place, os.W_OK):
        number = errno.EACCES if os.path.exists(place) else errno.ENOENT
        raise OptionError(f"access log {path} cannot be written: {os.strerror(number)}")


def directory_of(path: str) -> str | None:
    """Where its file is opened again after a rotation; None for a standard stream."""
    return None if path in STANDARD else os.path.dirname(os.path.abspath(path))


def _descriptor(name: str) -> int:
    try:
        number: int = getattr(sys, name).fileno()
    except (AttributeError, OSError, ValueError):
        return NUMBERS[name]
    return number
