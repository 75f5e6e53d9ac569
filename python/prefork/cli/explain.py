"""`prefork explain`: why a pool has the size that it has."""

from __future__ import annotations

from typing import Any

import click

from prefork.cli.running import carry_out, control_options, printable

SHOWN = 10
"""So many decisions are shown."""


@click.command()
@click.option("--all", "every", is_flag=True, help="Show all decisions that the manager remembers.")
@control_options(None)
def explain(glue: str | None, as_json: bool, every: bool) -> None:
    """Say why a running pool has the number of workers that it has, and what happens next.

    The last decisions of the pool follow: when, how many workers more or fewer, and why. 0 is for what
    changed no number.
    """
    most = None if every else SHOWN
    carry_out("explain", glue=glue, as_json=as_json, show=lambda response: _lines(response, most))


def _lines(response: dict[str, Any], most: int | None) -> str:
    from prefork.status.table import decision

    result = response["result"]
    decisions = result["decisions"]
    shown = decisions if most is None else decisions[-most:]
    lines = [printable(str(line)) for line in result["lines"]]
    if shown:
        older = len(decisions) - len(shown)
        lines += ["", "last decisions:" + (f" (and {older} older ones, with --all)" if older else "")]
    return "\n".join([*lines, *map(decision, shown)])
