"""The format of the log that `prefork serve` is given, read from sources of which others may be wrong."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping, Sequence

from prefork.config import env_file
from prefork.config.sources import FOUND, NO_FILE
from prefork.errors import PreforkError
from prefork.logs.formats import FORMATS


def given_format(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Of the command line, or else of the environment, or else of a TOML file; "text" if none says it."""
    variables = dict(environment)
    for path in (_flag(arguments, "--env-file"), environment.get("PREFORK_ENV_FILE")):
        with contextlib.suppress(PreforkError):
            if path:
                variables = env_file.read(path, variables) | variables
    path = _flag(arguments, "--config") or _flag(arguments, "-c") or variables.get("PREFORK_CONFIG")
    profile = _flag(arguments, "--profile") or variables.get("PREFORK_PROFILE")
    found: object = _flag(arguments, "--log-format") or variables.get("PREFORK_LOG_FORMAT")
    for file in [path] if path else reversed(FOUND):
        found = found or _in_file(file, profile)
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


def _in_file(path: str, profile: str | None) -> object:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        if path != NO_FILE:
            with open(path, "rb") as file:
                document = tomllib.load(file)
            if os.path.basename(path) == "pyproject.toml":
                document = {"prefork": document.get("tool", {}).get("prefork", {})}
            table = document.get("prefork", document)
            own = table.get("profile", {}).get(profile, {})
            both = {name.replace("-", "_"): value for name, value in {**table, **own}.items()}
            return both.get("log_format")
    return None
