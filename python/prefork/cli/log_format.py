"""The format of the log that `prefork serve` is given, read from sources of which others may be wrong."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping, Sequence

from prefork.logs.formats import FORMATS


def given_format(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Of the command line, or else of the environment, or else of the TOML file; "text" if none says it."""
    path = _flag(arguments, "--config") or _flag(arguments, "-c") or environment.get("PREFORK_CONFIG")
    found = _flag(arguments, "--log-format") or environment.get("PREFORK_LOG_FORMAT") or _in_file(path)
    name = str(found).lower()
    return name if name in FORMATS else FORMATS[0]


def _flag(arguments: Sequence[str], flag: str) -> str | None:
    """The last value of a flag: the next argument, or behind `=`."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=False):
        if argument == "--":
            break
        if argument == flag:
            found = following
        elif argument.startswith(f"{flag}="):
            found = argument.partition("=")[2]
    return found


def _in_file(path: str | None) -> object:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        if path:
            with open(path, "rb") as file:
                document = tomllib.load(file)
            table = document.get("prefork", document)
            return table.get("log_format", table.get("log-format"))
    return None
