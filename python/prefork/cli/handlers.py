"""`prefork handlers`: what a server of events does with which path."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options, lines_of_json, read_json


@click.command()
@click.option("--set", "file", metavar="FILE", help="JSON file with the new handlers; `-` is standard input.")
@click.option(
    "--replace", is_flag=True, help="Replace the running workers too, so that all have the new ones."
)
@control_options(300.0)
def handlers(glue: str | None, as_json: bool, timeout_s: float, file: str | None, replace: bool) -> None:
    """Show the handlers of a server of events, or set them.

    They are a list of objects with dir, session and event, as the option handlers has them. New workers have
    the new ones; --replace replaces the others, losing no request.
    """
    if replace and file is None:
        raise click.UsageError("--replace is for --set")
    arguments = {} if file is None else {"set": read_json(file, list), "replace": replace}
    show = lines_of_json if file is None else None
    carry_out("handlers", arguments, glue=glue, as_json=as_json, timeout_s=timeout_s, show=show)
