"""`prefork top`: a running pool in the terminal, live."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from prefork.cli.running import glue_option, printable, stack_lines
from prefork.cli.why import ask_for_stacks

if TYPE_CHECKING:
    from prefork.status.top.live import Source

STACKS_S = 3.0
"""How long a worker may take to show its stacks."""


@click.command()
@glue_option
@click.option(
    "--admin",
    "url",
    metavar="URL",
    help="Ask the admin listener there, as http://127.0.0.1:9900 or unix:/path, of a pool on any machine.",
)
@click.option(
    "--token-file", metavar="FILE", help="File with the token of that listener (--admin-token-file)."
)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.1, 3600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two reports.",
)
def top(glue: str | None, url: str | None, token_file: str | None, interval_s: float) -> None:
    """Show a running pool in the terminal, live.

    It shows the workers, rates, times and requests, and the last decisions of the pool. Keys sort the
    workers, pause, and show what a worker does and its Python stack; `?` lists them. Reports come from shared
    memory, so they come while every worker is stuck and while the manager is stopped. Where the output is no
    terminal, one plain report is printed.
    """
    from prefork.logs.console import print_line
    from prefork.status.top.live import Live, once
    from prefork.status.top.terminal import Ended, Terminal, can_draw

    if url is None and token_file is not None:
        raise click.UsageError("--token-file is for --admin")
    source, stacks = _from_memory(glue) if url is None else _from_listener(url, token_file)
    if not can_draw():
        print_line(once(source))
        return
    live = Live(source, stacks, interval_s)
    try:
        with Terminal() as terminal:
            live.run(terminal)
    except Ended as end:
        sys.exit(end.exit_status)
    except KeyboardInterrupt:
        return


def _from_memory(glue: str | None) -> tuple[Source, Callable[[int], Sequence[str]]]:
    """Reports of a pool of this machine, and what shows the stacks of its workers."""
    from prefork.status import only_glue
    from prefork.status.reader import Reader
    from prefork.status.why import describe, examine, has_stacks

    name = glue or only_glue()

    def stacks(pid: int) -> list[str]:
        found = examine(name, pid)
        lines = describe(found)
        if not has_stacks(found):
            return lines
        found |= ask_for_stacks(name, pid, STACKS_S)
        if reason := found.get("why_no_stacks"):
            return [*lines, "", printable(f"no stacks: {reason}")]
        return [*lines, "", *map(printable, stack_lines(found))]

    return Reader(name), stacks


def _from_listener(url: str, token_file: str | None) -> tuple[Source, Callable[[int], Sequence[str]]]:
    """Reports of an admin listener. It shows no stacks."""
    from prefork.status.top.remote import Remote

    token = None
    if token_file is not None:
        from prefork.admin.access import read_token

        token = read_token(token_file)[0].decode("ascii")

    def stacks(_pid: int) -> list[str]:
        return ["An admin listener shows no stacks: run `prefork top` or `prefork why` where the pool runs."]

    return Remote(url, token), stacks
