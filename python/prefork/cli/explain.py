"""`prefork explain`: why a pool has the size that it has."""

from __future__ import annotations

from typing import Any

import click

from prefork.cli.running import carry_out, control_options, printable


@click.command()
@control_options(None)
def explain(glue: str | None, as_json: bool) -> None:
    """Say why a running pool has the number of workers that it has, and what happens next."""
    carry_out("explain", glue=glue, as_json=as_json, show=_lines)


def _lines(response: dict[str, Any]) -> str:
    return "\n".join(printable(str(line)) for line in response["result"]["lines"])
