"""`prefork fork-handlers`: the events that each new worker calls."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options, lines_of_json, read_json


@click.command("fork-handlers")
@click.option("--set", "file", metavar="FILE", help="JSON file with the new events; `-` is standard input.")
@click.option(
    "--replace", is_flag=True, help="Replace the running workers too, by such that have called them."
)
@control_options(300.0)
def fork_handlers(glue: str | None, as_json: bool, timeout_s: float, file: str | None, replace: bool) -> None:
    """Show the events that each new worker calls, or set them.

    They are an object: the alias of a session, and its event.
    """
    if replace and file is None:
        raise click.UsageError("--replace is for --set")
    arguments = {} if file is None else {"set": read_json(file, dict), "replace": replace}
    show = lines_of_json if file is None else None
    carry_out("fork-handlers", arguments, glue=glue, as_json=as_json, timeout_s=timeout_s, show=show)
