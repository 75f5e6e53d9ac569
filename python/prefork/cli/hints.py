"""What a wrong flag may have meant: an option of another server, or one of ours that is misspelled."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from prefork.config.checked import EXTERNAL, did_you_mean

WRITE_FILES = {"--pid-file": "pid", "--access-log": "log"}
"""Options whose value is a file that is written, and what a name must contain to mean one of them, or another
that begins like it."""

AS_SERVE = ("serve", "dev", "check", "config")
"""Commands that take the options of a server."""
OF_OTHERS = {"run": "serve", "start": "serve", "help": "--help", "version": "--version", "ps": "status"}
"""Commands of other programs, and what is meant."""

OF_DEV = ("--https", "--locals")
"""What `prefork dev` has beside the options."""


def explain(error: click.UsageError, arguments: list[str]) -> str:
    """The message of an error, with a hint."""
    if isinstance(error, click.NoSuchOption):
        name = "serve" if error.ctx is None else error.ctx.command.name
        if name not in AS_SERVE:
            return error.format_message()  # it names options of the command that are alike
        return no_such_option(error.option_name, OF_DEV if name == "dev" else ())
    if isinstance(error, click.BadOptionUsage) and error.option_name == "--access-log":
        return "--access-log requires a file; `--access-log -` is standard output"
    unknown = re.fullmatch(r"No such command '(.*)'\.", error.format_message())
    if unknown and error.ctx is not None and isinstance(error.ctx.command, click.Group):
        return no_such_command(unknown[1], error.ctx.command.list_commands(error.ctx))
    if seconds := re.search(r" --keep-alive[ =]([0-9]+)", " ".join(arguments)):
        # click takes the number for the target.
        return f"--keep-alive takes no value; use --keep-alive-timeout {seconds[1]}"
    return error.format_message()


def no_such_command(name: str, commands: Iterable[str]) -> str:
    """The message for a word that is no command: the target of `prefork serve`, or a misspelt command."""
    message = f"No such command {name!r}"
    if name in OF_OTHERS:
        return f"{message}; use `prefork {OF_OTHERS[name]}`"
    if ":" in name or "." in name:
        return f"{message}; use `prefork serve {name}`"
    return message + did_you_mean(name, commands)


def no_such_option(name: str, more: Iterable[str] = ()) -> str:
    """The message for an unknown flag. The command has `more` than the options."""
    from prefork.config.other_servers import hint  # here: only a mistake needs the tables of other servers

    found = hint(name)
    if found is None:
        flags = {option.flag for option in EXTERNAL.values()}
        flags |= {"--config", "--profile", "--env-file", *more}
        wrong = {
            flag
            for flag in flags
            for file, word in WRITE_FILES.items()
            if flag.startswith(file) and word not in name
        }
        found = did_you_mean(name, flags - wrong)
    return f"No such option {name!r}{found}"
