"""`prefork status`: the report on a running pool, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from prefork._engine import Scoreboard
from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.logs.console import print_line
from prefork.pool.scoreboard import list_glues, open_scoreboard, snapshot
from prefork.status import table


def show(glue: str | None, *, as_json: bool) -> None:
    """Prints the report on the pool with this glue, or on the only pool.

    Raises ScoreboardUnavailable if it is not running, OptionError if several pools are running.
    """
    report = look(glue or only_glue())
    if as_json:
        print_line(json.dumps(report, indent=2))
    elif sys.stdout.isatty():
        table.draw(report)
    else:
        print_line(table.plain(report))


def look(glue: str) -> dict[str, Any]:
    """The report on one pool: `manager`, `totals` and `workers`."""
    board, pid, about = open_scoreboard(glue)
    report = make_report(board, about, glue, pid)
    board.close()
    return report


def make_report(
    board: Scoreboard, about: Any, glue: str | None, pid: int, *, processes: bool = True, pss: bool = False
) -> dict[str, Any]:
    """The report of a scoreboard and of what its manager, process `pid`, says of itself. `processes` and
    `pss` are those of `snapshot`.
    """
    report = snapshot(board, manager=pid, processes=processes, pss=pss)
    for name in ("listeners", "certificates", "queued", "refork"):
        report["manager"][name] = about.get(name) if isinstance(about, dict) else None
    report["totals"]["waiting"] += _before_workers(report["manager"])
    # The pid comes from the kernel (SO_PEERCRED). Workers could have written another one to the memory.
    report["manager"] |= {"glue": glue, "pid": pid}
    return report


def _before_workers(manager: dict[str, Any]) -> int:
    """How many clients no worker has accepted, and how many connections no worker has adopted, as far as the
    manager tells.
    """
    unaccepted = sum(place["waiting"] or 0 for place in manager["listeners"] or [])
    return unaccepted + (manager["queued"] or 0)


def only_glue() -> str:
    """The glue of the only pool of this user. Raises OptionError or ScoreboardUnavailable."""
    glues = list_glues()
    if len(glues) > 1:
        raise OptionError(f"several pools are running: {', '.join(glues)}; choose one with --glue")
    if not glues:
        raise ScoreboardUnavailable(
            "no pool of this user is running; start one with prefork serve (a server with --start 0 has none)"
        )
    return glues[0]
