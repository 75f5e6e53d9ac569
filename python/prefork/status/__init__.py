"""`prefork status`: the report on a running pool, as a table or as JSON, once or again and again."""

from __future__ import annotations

import json
import os
import sys
import time

from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.logs.console import print_line
from prefork.pool.scoreboard import list_glues
from prefork.status import table
from prefork.status.reader import Reader, look, make_report

__all__ = ["look", "make_report", "only_glue", "show", "watch"]


def show(glue: str | None, *, as_json: bool) -> None:
    """Prints the report on the pool with this glue, or on the only pool.

    Raises ScoreboardUnavailable if it is not running, OptionError if several pools are running.
    """
    report = look(glue or only_glue(), pss=True)
    if as_json:
        print_line(json.dumps(report, indent=2))
    elif sys.stdout.isatty():
        table.draw(report)
    else:
        print_line(table.plain(report))


def watch(glue: str | None, *, as_json: bool, interval_s: float) -> None:
    """Prints the report each `interval_s`, until it is interrupted: in a terminal in place of the one before,
    else after it; with `as_json` as a line. It ends as `show` does if the pool ends, and if its reader does.
    """
    in_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not as_json
    try:
        with Reader(glue or only_glue()) as reader:
            while True:
                report = reader.look()
                if in_terminal:
                    table.redraw(report)
                else:
                    text = json.dumps(report) if as_json else f"{table.plain(report)}\n"
                    print(text, flush=True)
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        print_line("")  # the output leads nowhere from now on


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
