"""Reports on one pool, once or again and again.

Always: what a report needs is shared memory, so there is one also while the manager is stopped or busy. It is
not asked then: each request would wait in its queue, and when that is full the next ones would block here.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prefork.errors import ScoreboardUnavailable
from prefork.pool.scoreboard import Found, histograms, open_scoreboard, snapshot
from prefork.pool.stillness import is_stopped

if TYPE_CHECKING:
    from prefork._engine import Scoreboard

TOLD = ("listeners", "certificates", "queued", "refork", "decisions")
"""What the manager says of itself; None where it does not respond."""


FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Between two requests to a manager that does not respond."""


class Reader:
    """`note` says what is wrong with the manager, or is "" (one line, for the operator)."""

    def __init__(self, glue: str) -> None:
        self.glue = glue
        self.note = ""
        self._found: Found | None = None
        self._pause_s = 0.0
        self._quiet_until_s = 0.0

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._found is not None:
            self._found.board.close()
            self._found = None

    def look(self) -> dict[str, Any]:
        """The report of this moment. Raises ScoreboardUnavailable if the pool is not running."""
        board, pid, about = self._ask()
        return make_report(board, about, self.glue, pid)

    def histograms(self) -> dict[str, list[tuple[float, int]]] | None:
        """How long all requests have taken, as on the scoreboard; None before the first report."""
        return None if self._found is None else histograms(self._found.board)

    def _ask(self) -> Found:
        """The memory, and what the manager says of itself if it responds."""
        found = self._found
        if found is not None and is_stopped(found.manager):
            self.note = f"the manager {found.manager} is stopped: this is what its workers write"
            return found._replace(about=None)
        if found is not None and monotonic() < self._quiet_until_s:
            return found._replace(about=None)
        try:
            new = open_scoreboard(self.glue)
        except ScoreboardUnavailable:
            if found is None or not os.path.exists(f"/proc/{found.manager}"):
                self._close()
                raise
            new = found._replace(about=None)
        else:
            self._close()
        self._found = new
        self._judge(new)
        return new

    def _judge(self, found: Found) -> None:
        if found.about is not None:
            self.note, self._pause_s = "", 0.0
            return
        what = "is stopped" if is_stopped(found.manager) else "does not respond"
        self.note = f"the manager {found.manager} {what}: this is what its workers write"
        self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2.0 * self._pause_s))
        self._quiet_until_s = monotonic() + self._pause_s


def look(glue: str, *, pss: bool = False) -> dict[str, Any]:
    """The report on one pool: `manager`, `totals` and `workers`. `pss` is as in `snapshot`."""
    board, pid, about = open_scoreboard(glue)
    report = make_report(board, about, glue, pid, pss=pss)
    board.close()
    return report


def make_report(board: Scoreboard, about: Any, glue: str | None, pid: int, **parts: bool) -> dict[str, Any]:
    """The report of a scoreboard and of what its manager, process `pid`, says of itself. `parts` are those
    of `snapshot`.
    """
    report = snapshot(board, manager=pid, **parts)
    for name in TOLD:
        report["manager"][name] = about.get(name) if isinstance(about, dict) else None
    if isinstance(about, dict):
        _correct_states(report, about.get("ending", ()))
    report["totals"]["waiting"] += _before_workers(report["manager"])
    # The pid comes from the kernel (SO_PEERCRED). Workers could have written another one to the memory.
    report["manager"] |= {"glue": glue, "pid": pid}
    return report


def _correct_states(report: dict[str, Any], ending: Collection[int]) -> None:
    """Workers that were told to end are draining: one whose application blocks it cannot write that yet."""
    for worker in report["workers"]:
        if worker["pid"] in ending and worker["state"] in ("spare", "active"):
            report["totals"][worker["state"]] -= 1
            report["totals"]["draining"] += 1
            worker["state"] = "draining"


def _before_workers(manager: dict[str, Any]) -> int:
    """How many clients no worker has accepted, and how many connections no worker has adopted, as far as the
    manager tells.
    """
    unaccepted = sum(place["waiting"] or 0 for place in manager["listeners"] or [])
    return unaccepted + (manager["queued"] or 0)
