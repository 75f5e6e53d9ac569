"""`prefork why`: what a worker does."""

from __future__ import annotations

import json
from typing import Any

import click

from prefork.cli.running import control_options, printable, stack_lines


@click.command()
@click.argument("pid", type=click.IntRange(1))
@click.option("--stacks", is_flag=True, help="Show its Python stacks, also if it is not stuck.")
@control_options(5.0)
def why(glue: str | None, as_json: bool, timeout_s: float, pid: int, stacks: bool) -> None:
    """Say what a worker does now.

    That is its state, its request, and what it waits for. If it is stuck, the Python stack of each of its
    threads follows, and the tasks of its asyncio loop, as `prefork stacks` shows them. The rest needs no
    response, of the worker or of the manager.
    """
    from prefork.logs.console import print_line
    from prefork.status import only_glue
    from prefork.status.why import describe, examine, has_stacks

    glue = glue or only_glue()
    found = examine(glue, pid)
    lines = describe(found)
    if not has_stacks(found):
        found["why_no_stacks"] = "a worker that is stopped or has ended writes none"
    elif stacks or found["is_stuck"]:
        found |= ask_for_stacks(glue, pid, timeout_s)
    if as_json:
        print_line(json.dumps(found))
        return
    if reason := found.get("why_no_stacks"):
        lines.append(printable(f"no stacks: {reason}"))
    elif "stacks" in found:
        lines += ["", *map(printable, stack_lines(found))]
    print_line("\n".join(lines))


def ask_for_stacks(glue: str, pid: int, timeout_s: float) -> dict[str, Any]:
    """The stacks and the tasks of a worker, through its manager, or why there are none."""
    from prefork.admin.client import ask, find_pool
    from prefork.errors import PreforkError

    try:
        response = ask(find_pool(glue), "stacks", {"pid": pid}, timeout_s=timeout_s, progressed=_ignore)
    except PreforkError as error:
        return {"why_no_stacks": str(error)}
    if not response["ok"]:
        return {"why_no_stacks": str(response.get("error"))}
    result: dict[str, Any] = response["result"]
    return {name: result[name] for name in ("stacks", "tasks", "why_no_tasks")}


def _ignore(_progress: dict[str, Any]) -> None:
    pass
