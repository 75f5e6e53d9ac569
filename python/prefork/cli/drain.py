"""`prefork drain`: no new clients, and the workers finish."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@control_options(60.0)
def drain(glue: str | None, as_json: bool, timeout_s: float) -> None:
    """Stop listening, and wait until every worker has finished its requests and ended.

    The server itself goes on without workers, until `prefork resume` or `prefork stop`.
    """
    carry_out("drain", glue=glue, as_json=as_json, timeout_s=timeout_s)
