"""`prefork import-config`: the configuration of gunicorn, uvicorn or uWSGI as TOML."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prefork.config.peers.outcome import Found, Outcome

SERVERS = ("gunicorn", "uvicorn", "uwsgi")

BEFORE = re.compile(r"(?:.*/)?(?:python[0-9.]*|exec|env)|-m|-u")
"""What may stand in front of the server's name."""


class ImportCommand(click.Command):
    """Leaves what follows the name of a server to the server."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if len(args) == 1 and " " in args[0] and not os.path.exists(args[0]):
            with contextlib.suppress(ValueError):  # an open quote: it is refused as a file
                args = shlex.split(args[0])  # a whole command line in quotes
        for place, argument in enumerate(args):
            if argument == "--":
                break
            if server_of(argument) is not None:
                start = place
                while start and BEFORE.fullmatch(args[start - 1]):
                    start -= 1
                args = [*args[:start], "--", *args[start:]]
                break
        return super().parse_args(context, args)


def server_of(argument: str) -> str | None:
    """The server that a word of a command line starts."""
    name = os.path.basename(argument)
    return name if name in SERVERS else None


@click.command("import-config", cls=ImportCommand)
@click.argument("source", nargs=-1, required=True, metavar="FILE|COMMAND...")
@click.option("--output", "-o", metavar="FILE", help="File to write; standard output without it.")
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
def import_config(source: tuple[str, ...], output: str | None, force: bool) -> None:
    """Convert the configuration of gunicorn, uvicorn or uWSGI.

    FILE is gunicorn.conf.py or an INI file of uWSGI. COMMAND is a command line, such as
    `gunicorn app:app -w 4`. What becomes of each setting is written as comments into the TOML, and what
    is not possible to standard error too. gunicorn.conf.py is run, as gunicorn does.
    """
    from prefork.cli.importing.reading import read
    from prefork.config.peers.document import document
    from prefork.config.peers.outcome import outcomes
    from prefork.errors import OptionError
    from prefork.logs.access_log import check_format
    from prefork.logs.console import print_line

    def check(key: str, value: object) -> None:
        if key == "access_log_format":
            check_format(str(value), key)

    if output is not None and os.path.exists(output) and not force:
        raise OptionError(f"{output} is there already; --force overwrites it")
    found, find = read(source, os.environ)
    all_outcomes = outcomes(found, find, check)
    # A file of that name is found by itself.
    config = () if output is None or output == "prefork.toml" else ("--config", output)
    command = shlex.join(["prefork", "serve", found.target or "TARGET", *found.flags, *config])
    text = document(found, all_outcomes, command)
    if output is None:
        print_line(text.rstrip("\n"))
    else:
        _write(output, text)
    report(found, all_outcomes)


def report(found: Found, all_outcomes: list[Outcome]) -> None:
    """Says on standard error what is not possible, and how many settings have which fate."""
    from prefork.config.peers.document import said
    from prefork.config.peers.setting import Fate
    from prefork.logs.console import complain

    for one in all_outcomes:
        if one.fate is Fate.IMPOSSIBLE:
            complain(f"not possible: {said(one)}")
    for name in found.unknown:
        complain(f"unknown: {found.peer.name} {found.peer.version} has no setting {name}")
    fates = [one.fate for one in all_outcomes]
    counts = ", ".join(f"{fates.count(fate)} {fate.value}" for fate in Fate)
    complain(f"{len(fates)} settings of {found.peer.name}: {counts}")


def _write(path: str, text: str) -> None:
    from prefork.errors import OptionError

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}") from None
