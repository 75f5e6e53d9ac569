"""The command `prefork`: its subcommands, and how errors are shown.

Always: a mistake of the user is one line on standard error and exit status 2, and so is what has failed, with
another status. A traceback is shown only for an exception in the user's own code, and begins there.

It knows every floor below it; nothing knows it. What `serve` imports stays in the memory of every worker, so
what only `status` needs is imported there.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from prefork.cli.hints import explain
from prefork.errors import PreforkError
from prefork.logs.console import complain
from prefork.logs.formats import set_format

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


COMMANDS = (
    "serve",
    "dev",
    "check",
    "config",
    "status",
    "top",
    "explain",
    "why",
    "scale",
    "recycle",
    "reload",
    "upgrade",
    "drain",
    "resume",
    "stop",
    "handlers",
    "fork-handlers",
    "log-level",
    "stacks",
    "import-config",
    "completion",
)
"""Each in a file of its own, under its name."""


class Commands(click.Group):
    """Imports a command when it is used."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        place = name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"prefork.cli.{place}"), place)
        return command


@click.group(cls=Commands, context_settings=SETTINGS, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda context, _, given: show_version(context) if given else None,
    help="Show the version and how it was built, and exit.",
)
@click.pass_context
def commands(context: click.Context) -> None:
    """A preforking HTTP server for WSGI, ASGI and native event handlers."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def show_version(context: click.Context) -> None:
    from prefork.admin.version import build_lines  # here: what serves does not need it

    click.echo("\n".join(build_lines()))
    context.exit()


def main() -> None:
    """Runs the command and exits with its status."""
    try:
        code = commands.main(prog_name="prefork", standalone_mode=False)
    except click.UsageError as error:
        use_given_format()
        path = error.ctx.command_path if error.ctx else "prefork"
        code = fail(f"{explain(error, sys.argv)} (see {path} --help)")
    except PreforkError as error:
        use_given_format()
        exception = ""
        if error.__cause__ is not None:
            import traceback

            exception = "".join(traceback.format_exception(error.__cause__))
        fail(str(error), exception)
        code = error.exit_status
    except (click.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code)


def fail(message: str, exception: str = "") -> int:
    """Prints an error as one line, behind a traceback if there is one. Returns the exit status."""
    complain(" ".join(message.split()), exception)
    return 2


def use_given_format() -> None:
    """Has `serve` complain in the format that it is given, also if another option is wrong."""
    if sys.argv[1:2] in (["serve"], ["dev"]):
        from prefork.cli.log_format import given_format  # here: only a failure needs it

        set_format(given_format(sys.argv[2:], os.environ))
