"""`prefork stop`: ends a running server."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@click.option("--now", is_flag=True, help="Do not let requests finish.")
@control_options(60.0)
def stop(glue: str | None, as_json: bool, timeout_s: float, now: bool) -> None:
    """Stop a running server, and wait until it has ended.

    Requests finish within --graceful-timeout of the server, as after SIGTERM.
    """
    carry_out("stop", {"now": now}, glue=glue, as_json=as_json, timeout_s=timeout_s, ends=True)
