"""`prefork stacks`: where a worker is."""

from __future__ import annotations

from typing import Any

import click

from prefork.cli.running import carry_out, control_options, printable, stack_lines


@click.command()
@click.argument("pid", type=click.IntRange(1))
@control_options(5.0)
def stacks(glue: str | None, as_json: bool, timeout_s: float, pid: int) -> None:
    """Show the Python stack of each thread of a worker, also while it is stuck. The worker goes on.

    The tasks of its asyncio loop follow, each with its coroutines and what it waits for, unless its main
    thread is stuck outside of Python.
    """
    carry_out("stacks", {"pid": pid}, glue=glue, as_json=as_json, timeout_s=timeout_s, show=_lines)


def _lines(response: dict[str, Any]) -> str:
    return "\n".join(map(printable, stack_lines(response["result"])))
