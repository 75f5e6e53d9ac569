"""Reports on pools that are not there: what `make_report` returns, for those that show one."""

from __future__ import annotations

import math
from typing import Any

from prefork.pool.scoreboard import CLASSES, LIMITED

TOTALS = (
    "requests",
    "connections",
    "in_flight",
    "bytes_in",
    "bytes_out",
    "handed_off",
    "adopted",
    "waiting",
    "log_lost",
)
BOUNDS = (0.001, 0.01, 0.1, math.inf)
NO_TIMES = {name: [(bound, 0) for bound in BOUNDS] for name in ("wait", "application", "last_byte")}
"""Histograms in which nothing is counted."""
STATES = ("starting", "spare", "active", "draining", "stuck")


def worker(slot: int, state: str = "spare", **more: Any) -> dict[str, Any]:
    """One worker, with what the page shows of it."""
    known = {"pid": 1000 + slot, "generation": 1, "in_flight": 0, "request": None, "is_garbled": False}
    return {"slot": slot, "state": state, **known, **more}


def request(path: str | None = "/", age_s: float = 1.0, **more: Any) -> dict[str, Any]:
    known = {"method": "GET", "path": path, "client": "192.0.2.1", "phase": "handling", "age_s": age_s}
    return {**known, **more}


def report(*workers: dict[str, Any], uptime_s: float = 100.0, **more: Any) -> dict[str, Any]:
    """A report on these workers. `more` are figures of the manager and of the totals."""
    manager: dict[str, Any] = {
        "glue": "pool",
        "pid": 999,
        "uptime_s": uptime_s,
        "listeners": [{"url": "http://127.0.0.1:8000"}],
        "min_spare": 5,
        "max_spare": 10,
        "max_clients": 16,
        "generation": 1,
        "overcommit": False,
        "stopping": False,
        "forked": len(workers),
        "died": 0,
        "boot_failed": 0,
        "decisions": [],
    }
    totals: dict[str, Any] = dict.fromkeys((*TOTALS, *LIMITED), 0)
    totals |= {"workers": len(workers), "classes": dict.fromkeys(CLASSES, 0)}
    totals |= {state: sum(one["state"] == state for one in workers) for state in STATES}
    for name, value in more.items():
        (manager if name in manager else totals)[name] = value
    return {"manager": manager, "totals": totals, "workers": list(workers)}
