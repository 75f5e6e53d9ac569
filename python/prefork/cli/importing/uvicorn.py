"""What uvicorn is given: its command line, and variables such as UVICORN_PORT."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from prefork.config.peers.outcome import Found
from prefork.config.peers.setting import Setting, Takes
from prefork.config.peers.uvicorn import UVICORN
from prefork.errors import OptionError

GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def read_command(arguments: Sequence[str], _environment: Mapping[str, str]) -> Found:
    """What `uvicorn ARGUMENTS` has. Raises OptionError.

    click reads the variables from the environment of the process.
    """
    command = _their_command() or _own_command()
    try:
        context = command.make_context("uvicorn", list(arguments))
    except click.exceptions.Exit:  # --help and --version print something, and end
        raise OptionError("uvicorn: it serves nothing") from None
    except click.ClickException as error:
        raise OptionError(f"uvicorn: {error.format_message()}") from None
    given: dict[str, Any] = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) in GIVEN and value not in (None, ())
    }
    target = given.pop("app", None)
    file = given.get("env_file")
    return Found(
        peer=UVICORN,
        origin="a command line of uvicorn",
        target=target,
        given=given,
        flags=("--env-file", file) if file else (),
    )


def _their_command() -> click.Command | None:
    """That of the uvicorn that is installed."""
    try:
        command: click.Command = importlib.import_module("uvicorn.main").main
    except ImportError:
        return None
    return command


def _own_command() -> click.Command:
    """One from the table, without uvicorn."""
    options = [_option(setting) for setting in UVICORN.settings.values() if setting.flags]
    return click.Command(
        "uvicorn",
        params=[click.Argument(["app"], envvar="UVICORN_APP"), *options],
        context_settings={"auto_envvar_prefix": "UVICORN"},
    )


def _option(setting: Setting) -> click.Option:
    match setting.takes:
        case Takes.SWITCH:
            return click.Option([*setting.flags, setting.name], is_flag=True, default=False)
        case Takes.PAIR:
            return click.Option(["/".join(setting.flags), setting.name], default=None)
        case Takes.MANY:
            return click.Option([*setting.flags, setting.name], multiple=True)
    return click.Option([*setting.flags, setting.name])
