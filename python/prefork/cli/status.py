"""`prefork status`: where a running pool listens, and its workers."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--glue",
    envvar="PREFORK_GLUE",
    show_envvar=True,
    metavar="NAME",
    help="Name of the pool. Required if several are running.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(glue: str | None, as_json: bool) -> None:
    """Show where a running pool of this user listens, and its workers."""
    from prefork.status import show

    show(glue or None, as_json=as_json)
