"""`prefork resume`: listens again after `prefork drain`."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@control_options(60.0)
def resume(glue: str | None, as_json: bool, timeout_s: float) -> None:
    """Listen again after `prefork drain`, and wait until enough workers are ready."""
    carry_out("resume", glue=glue, as_json=as_json, timeout_s=timeout_s)
