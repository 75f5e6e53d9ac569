"""`prefork reload`: new certificates and new workers for a running pool."""

from __future__ import annotations

import click

from prefork.cli.running import glue_option


@click.command()
@glue_option
def reload(glue: str | None) -> None:
    """Have a running pool of this user read its certificates again and replace its workers.

    It sends SIGHUP to the manager, whose log has the result. Changed code needs a restart.
    """
    from prefork.status.hang_up import hang_up

    hang_up(glue or None)
