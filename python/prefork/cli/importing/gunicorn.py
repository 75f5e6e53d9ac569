"""What gunicorn is given: its command line, GUNICORN_CMD_ARGS, its configuration file, the strongest first.

The configuration file is a program. It is run here, as gunicorn runs it: the process does nothing else. What
it prints goes to standard error.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import shlex
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.outcome import Found
from prefork.config.peers.setting import Takes
from prefork.errors import OptionError

DEFAULT_FILE = "gunicorn.conf.py"


def read_command(arguments: Sequence[str], environment: Mapping[str, str]) -> Found:
    """What `gunicorn ARGUMENTS` has. Raises OptionError."""
    given = _parsed(arguments, "gunicorn")
    return _found(given, environment, "a command line of gunicorn")


def read_file(place: str, environment: Mapping[str, str]) -> Found:
    """What `gunicorn -c PLACE` has. Raises OptionError."""
    return _found({"config": place}, environment, place)


def _found(given: dict[str, Any], environment: Mapping[str, str], origin: str) -> Found:
    stronger = _from_environment(environment)
    place = given.pop("config", None) or stronger.pop("config", None)
    stronger.pop("config", None)
    positional = [*given.pop("args", []), *stronger.pop("args", [])]
    if place is None and os.path.exists(DEFAULT_FILE):
        place = DEFAULT_FILE
    named = [origin]
    if place is not None and place != origin:
        named.append(place)
    if stronger:
        named.append("GUNICORN_CMD_ARGS")
    settings = {**(_from_file(place) if place is not None else {}), **stronger, **given}
    application = positional[0] if positional else settings.get("wsgi_app")
    target, options, notes = _target(application)
    return Found(
        peer=GUNICORN,
        origin=" with ".join(named[:2]) + "".join(f" and {more}" for more in named[2:]),
        target=target,
        given=settings,
        notes=notes,
        options=options,
    )


def _target(application: str | None) -> tuple[str | None, dict[str, object], tuple[str, ...]]:
    """The target of `prefork serve`, what it asks for, and what is to be said of it."""
    if application is None:
        return None, {}, ()
    module, _, name = application.partition(":")
    try:
        expression = ast.parse(name or "application", mode="eval").body
    except SyntaxError:
        raise OptionError(f"expected an application such as shop.wsgi:app, got {application!r}") from None
    if isinstance(expression, ast.Call):
        function = ast.unparse(expression.func)
        if expression.args or expression.keywords:
            return (
                f"{module}:{function}",
                {"factory": True},
                (f"{application} has arguments: give {function} defaults, or call it in a module.",),
            )
        return f"{module}:{function}", {"factory": True}, ()
    return f"{module}:{name or 'application'}", {}, ()


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        arguments = shlex.split(environment.get("GUNICORN_CMD_ARGS", ""))
    except ValueError as error:
        raise OptionError(f"GUNICORN_CMD_ARGS: {error}") from None
    return _parsed(arguments, "GUNICORN_CMD_ARGS")


def _parsed(arguments: Sequence[str], source: str) -> dict[str, Any]:
    """The settings of a command line, by name. Those that are not there are not given."""
    parser = _their_parser() or _own_parser()

    def refuse(message: str) -> NoReturn:
        raise OptionError(f"{source}: {message}")

    parser.error = refuse  # type: ignore[method-assign]
    try:
        values = vars(parser.parse_args(list(arguments)))
    except SystemExit:  # --help and --version print something, and end
        raise OptionError(f"{source}: it serves nothing") from None
    return {name: value for name, value in values.items() if value is not None}


def _their_parser() -> argparse.ArgumentParser | None:
    """That of the gunicorn that is installed."""
    try:
        config = importlib.import_module("gunicorn.config")
    except ImportError:
        return None
    parser: argparse.ArgumentParser = config.Config().parser()
    return parser


def _own_parser() -> argparse.ArgumentParser:
    """One from the table, without gunicorn."""
    parser = argparse.ArgumentParser("gunicorn", add_help=False)
    parser.add_argument("args", nargs="*")
    kinds: dict[Takes, dict[str, Any]] = {
        Takes.VALUE: {},
        Takes.MANY: {"action": "append"},
        Takes.SWITCH: {"action": "store_true", "default": None},
        Takes.MAYBE: {"nargs": "?", "const": "auto"},
    }
    for setting in GUNICORN.settings.values():
        if setting.flags:
            parser.add_argument(*setting.flags, dest=setting.name, **kinds[setting.takes])
    return parser


def _from_file(place: str) -> dict[str, Any]:
    """The settings among the names of a configuration file. Raises OptionError."""
    names = _run(place)
    return {name: names[name] for name in GUNICORN.settings if names.get(name) is not None}


def _run(place: str) -> dict[str, Any]:
    """Runs a configuration file, or imports `python:module`. Returns its names."""
    path = place.removeprefix("file:")
    if not place.startswith("python:") and not os.path.isfile(path):
        raise OptionError(f"{path} is not there")
    before, folder = list(sys.path), os.getcwd()
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if place.startswith("python:"):
                return vars(importlib.import_module(place.removeprefix("python:")))
            return vars(_module(path))
    except (Exception, SystemExit) as error:
        raise OptionError(f"{_line_of(error, path)}: {_said(error)}") from None
    finally:
        sys.path[:] = before
        os.chdir(folder)


def _module(path: str) -> types.ModuleType:
    loader = importlib.machinery.SourceFileLoader("__config__", path)
    spec = importlib.util.spec_from_file_location("__config__", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["__config__"] = module
    loader.exec_module(module)
    return module


def _line_of(error: BaseException, path: str) -> str:
    """The place in the file where it went wrong."""
    whole = os.path.abspath(path)
    if isinstance(error, SyntaxError) and os.path.abspath(error.filename or "") == whole:
        return f"{path}, line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.abspath(frame.filename) == whole
    ]
    return f"{path}, line {lines[-1]}" if lines else path


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process (status {error.code})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
