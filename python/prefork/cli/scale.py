"""`prefork scale`: other limits for a running pool."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options

WORKERS = click.IntRange(0, 65535)


@click.command()
@click.option("--min-spare", type=WORKERS, metavar="NUMBER", help="Minimum number of spare workers.")
@click.option("--max-spare", type=WORKERS, metavar="NUMBER", help="Maximum number of spare workers.")
@click.option("--max-clients", type=WORKERS, metavar="NUMBER", help="Maximum number of workers.")
@click.option(
    "--workers", "-w", type=WORKERS, metavar="NUMBER", help="Fixed number of workers: sets all three."
)
@control_options(30.0)
def scale(glue: str | None, as_json: bool, timeout_s: float, **limits: int | None) -> None:
    """Change the limits of a running pool, and wait until it has its new size.

    They hold until the server ends, or a reload finds other ones in the configuration. A worker that serves a
    request is never ended for them: it stays until it is spare.
    """
    given = {name: number for name, number in limits.items() if number is not None}
    if not given:
        raise click.UsageError("expected --min-spare, --max-spare, --max-clients or --workers")
    carry_out("scale", given, glue=glue, as_json=as_json, timeout_s=timeout_s)
