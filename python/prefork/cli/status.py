"""`prefork status`: where a running pool listens, its figures, and its workers."""

from __future__ import annotations

import click

from prefork.cli.running import glue_option

INTERVAL_S = 2.0


@click.command()
@glue_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch",
    "interval_s",
    type=click.FloatRange(0.1, 86400.0),
    is_flag=False,
    flag_value=INTERVAL_S,
    default=None,
    metavar="[SECONDS]",
    help=f"Repeat it each SECONDS, or {INTERVAL_S:g}, until ^C. With --json: a line each.",
)
def status(glue: str | None, as_json: bool, interval_s: float | None) -> None:
    """Show the figures of a running pool, and its workers.

    It shows where the pool listens, what it has done, and its last decisions. In a terminal the columns are
    those that there is room for; elsewhere all of them are shown.
    """
    from prefork.status import show, watch

    if interval_s is None:
        show(glue or None, as_json=as_json)
    else:
        watch(glue or None, as_json=as_json, interval_s=interval_s)
