"""Logging as a file or a dict configures it, for `logging.config`.

Always: a configuration that cannot be applied is an OptionError of one line, which names the file.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import tomllib
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as IniError
from functools import partial
from typing import Any, TypeAlias

from prefork.errors import OptionError

Apply: TypeAlias = Callable[[], None]


def configure(source: str | Mapping[str, Any]) -> None:
    """Applies a configuration: the path of a file (JSON, TOML or INI), or a dict. Raises OptionError.

    Loggers that it does not name stay enabled, unless it says otherwise.
    """
    where = f"log_config {source}" if isinstance(source, str) else "log_config"
    try:
        apply = _read(source) if isinstance(source, str) else partial(_apply, source)
        logging.getLogger("prefork").setLevel(logging.NOTSET)
        apply()
    except OSError as error:
        what = f"{error.filename}: " if error.filename not in (None, source) else ""
        raise OptionError(f"{where}: {what}{error.strerror or error}") from None
    except Exception as error:  # whatever a class that it names raises
        raise OptionError(f"{where}: {_reason(error)}") from None


def _read(path: str) -> Apply:
    """What applies a file. Its name says what it is, or else its content."""
    with open(path, "rb") as file:
        content = file.read().decode()
    kind = os.path.splitext(path)[1].lower()
    if kind == ".json" or content.lstrip().startswith("{"):
        return partial(_apply, json.loads(content))
    if kind in (".ini", ".conf", ".cfg"):
        return _of_ini(content)
    try:
        return partial(_apply, tomllib.loads(content))
    except tomllib.TOMLDecodeError:
        if kind == ".toml":
            raise
    return _of_ini(content)


def _apply(configuration: object) -> None:
    if not isinstance(configuration, Mapping):
        raise TypeError(f"expected an object, got {configuration!r}")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False} | dict(configuration))


def _of_ini(content: str) -> Apply:
    parser = ConfigParser()
    parser.read_string(content, "it")
    if not parser.has_section("loggers"):
        raise ValueError("expected JSON, TOML, or INI with the section [loggers]")
    return partial(logging.config.fileConfig, parser, disable_existing_loggers=False)


def _reason(error: BaseException) -> str:
    """What is wrong, and why, as one line."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case KeyError():
                text = f"{cause.args[0]!r} is missing" if cause.args else "something is missing"
            case IniError():
                text = cause.message
            case _:
                text = str(cause) or type(cause).__name__
        causes.append(text)
        cause = cause.__cause__
    return " ".join(": ".join(causes).split())
