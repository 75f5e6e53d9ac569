"""`prefork status`: where a running pool listens, and its workers."""

from __future__ import annotations

import click

from prefork.cli.running import glue_option


@click.command()
@glue_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(glue: str | None, as_json: bool) -> None:
    """Show where a running pool of this user listens, and its workers."""
    from prefork.status import show

    show(glue or None, as_json=as_json)
