"""Reports on pools that are not there, with every figure, as `make_report` and `look` return them."""

from __future__ import annotations

import math
from typing import Any

from prefork.pool.scoreboard import CLASSES, LIMITED, TIMES

STATES = ("starting", "spare", "active", "draining", "stuck")
COUNTS = ("requests", "connections", "bytes_in", "bytes_out", "handed_off", "adopted", "in_flight", "waiting",
          "responses", "errors", "log_lost", *LIMITED)  # fmt: skip
NO_REQUESTS = {"count": 0, "sum_s": 0.0, "p50_s": None, "p90_s": None, "p99_s": None}
FIGURES: dict[str, Any] = {
    "classes": dict.fromkeys(CLASSES, 0),
    "statuses": {},
    "tls": {"handshakes": 0, "resumed": 0},
    "http2": {"connections": 0, "streams": 0},
    **dict.fromkeys(TIMES, NO_REQUESTS),
}
BOUNDS = (0.001, 0.01, 0.1, math.inf)
NO_TIMES = {name: [(bound, 0) for bound in BOUNDS] for name in TIMES}
"""Histograms in which nothing is counted."""


def times(p50_s: float, p90_s: float, p99_s: float, count: int = 100) -> dict[str, Any]:
    """The times of some requests."""
    return {"count": count, "sum_s": count * p50_s, "p50_s": p50_s, "p90_s": p90_s, "p99_s": p99_s}


def request(path: str | None = "/", age_s: float = 0.25, **changes: Any) -> dict[str, Any]:
    """What a worker shows of the request in flight that began last."""
    made = {"method": "GET", "path": path, "age_s": age_s, "client": "10.0.0.9", "phase": "handling"}
    return made | changes


def worker(slot: int, state: str = "spare", **changes: Any) -> dict[str, Any]:
    """A worker with nothing to tell."""
    return {
        "slot": slot,
        "pid": 100 + slot,
        "state": state,
        "generation": 1,
        "age_s": 200.0,
        **dict.fromkeys(COUNTS, 0),
        "busy_s": 0.0,
        "lag_s": 0.25,
        "response_s": 0.0,
        "since_turn_s": 0.0,
        **FIGURES,
        "cpu_s": None,
        "rss": None,
        "pss": None,
        "is_garbled": False,
        "request": None,
        **changes,
    }


def busy(slot: int, path: str = "/busy", age_s: float = 0.25, **changes: Any) -> dict[str, Any]:
    """An active worker with one request."""
    return worker(slot, "active", in_flight=1, request=request(path, age_s)) | changes


def report(*workers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A pool of these workers. `changes` are figures of the totals, or of the manager if there is none of
    that name.
    """
    states = [one["state"] for one in workers]
    totals: dict[str, Any] = {
        "workers": len(workers),
        **{state: states.count(state) for state in STATES},
        **{name: sum(one[name] for one in workers) for name in COUNTS},
        **FIGURES,
    }
    manager: dict[str, Any] = {
        "glue": "site",
        "pid": 100,
        "uptime_s": 3905.0,
        "generation": 1,
        "min_spare": 1,
        "max_spare": 3,
        "max_clients": 8,
        "overcommit": False,
        "stopping": False,
        "forked": len(workers),
        "died": 0,
        "boot_failed": 0,
        "listeners": [],
        "refork": None,
        "decisions": [],
    }
    for name, value in changes.items():
        (totals if name in totals else manager)[name] = value
    return {"manager": manager, "totals": totals, "workers": list(workers)}
