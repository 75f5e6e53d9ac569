"""`prefork upgrade`: a new manager for a running pool."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@control_options(300.0)
def upgrade(glue: str | None, as_json: bool, timeout_s: float) -> None:
    """Have a new manager take the place of that of a running pool, and wait for it.

    The command line of the server is run again: with the Python, the prefork and the code that it finds now.
    Connections stay open. If no worker of the new manager gets ready, the former one serves on.
    """
    carry_out("upgrade", glue=glue, as_json=as_json, timeout_s=timeout_s)
