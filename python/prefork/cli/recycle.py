"""`prefork recycle`: fresh workers in place of those that run."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@click.argument("pids", metavar="[PID]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="Replace every worker.")
@control_options(300.0)
def recycle(glue: str | None, as_json: bool, timeout_s: float, pids: tuple[int, ...], every: bool) -> None:
    """Replace workers of a running pool by fresh ones.

    Each serves on until another worker is ready; then it takes no new work, finishes its requests and ends.
    The command returns when none of them takes requests any more.
    """
    if bool(pids) == every:
        raise click.UsageError("expected the PID of a worker, or --all")
    arguments = {"all": True} if every else {"pids": list(pids)}
    carry_out("recycle", arguments, glue=glue, as_json=as_json, timeout_s=timeout_s)
