"""What a running pool looks like from outside, for people and for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.logs.console import say
from prefork.pool.scoreboard import list_glues, open_scoreboard, snapshot
from prefork.status import table


def show(glue: str | None, *, as_json: bool) -> None:
    """Prints the pool of that glue, or the only one there is.

    Raises ScoreboardUnavailable when it does not run, OptionError when there are several to choose from.
    """
    report = look(glue or only_glue())
    if as_json:
        say(json.dumps(report, indent=2))
    elif sys.stdout.isatty():
        table.draw(report)
    else:
        say(table.plain(report))


def look(glue: str) -> dict[str, Any]:
    """The report on one pool: `manager`, `totals` and `workers`."""
    board, pid = open_scoreboard(glue)
    report = snapshot(board)
    board.close()
    # The kernel says who holds the glue; what is in the memory is only what somebody wrote there.
    report["manager"] |= {"glue": glue, "pid": pid}
    return report


def only_glue() -> str:
    """The glue of the only pool of this user."""
    glues = list_glues()
    if len(glues) > 1:
        raise OptionError(f"several pools run: {', '.join(glues)}; choose one with --glue")
    if not glues:
        raise ScoreboardUnavailable("no pool of this user is running; start one with prefork serve")
    return glues[0]
