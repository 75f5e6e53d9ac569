"""`prefork log-level`: more or fewer lines in the log of a running pool."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options

LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command("log-level")
@click.argument("level", type=click.Choice(LEVELS))
@control_options(None)
def log_level(glue: str | None, as_json: bool, level: str) -> None:
    """Change the lowest level of messages to log, in the manager and in every worker.

    It holds until the server ends, or a reload finds another one in the configuration. It is for the messages
    of prefork itself, as --log-level is.
    """
    carry_out("log-level", {"level": level}, glue=glue, as_json=as_json)
