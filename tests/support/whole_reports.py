"""Reports on a pool with every figure, as `prefork.status.look` makes them."""

from __future__ import annotations

from typing import Any

from prefork.pool.scoreboard import CLASSES, LIMITED, TIMES

NO_TIMES = {"count": 0, "sum_s": 0.0, "p50_s": None, "p90_s": None, "p99_s": None}
FIGURES: dict[str, Any] = {
    "classes": dict.fromkeys(CLASSES, 0),
    "tls": {"handshakes": 0, "resumed": 0},
    "http2": {"connections": 0, "streams": 0},
    **dict.fromkeys(TIMES, NO_TIMES),
}
COUNTS = ("requests", "connections", "bytes_in", "bytes_out", "handed_off", "adopted", "in_flight", "waiting",
          "responses", "errors", "log_lost", *LIMITED)  # fmt: skip


def times(p50_s: float, p90_s: float, p99_s: float, count: int = 100) -> dict[str, Any]:
    """The times of some requests."""
    return {"count": count, "sum_s": count * p50_s, "p50_s": p50_s, "p90_s": p90_s, "p99_s": p99_s}


def request(path: str | None = "/", age_s: float = 0.25, **changes: Any) -> dict[str, Any]:
    """What a worker shows of the request in flight that began last."""
    made = {"method": "GET", "path": path, "age_s": age_s, "client": "10.0.0.9", "phase": "handling"}
    return made | changes


def worker(slot: int, **changes: Any) -> dict[str, Any]:
    """A spare worker with nothing to tell."""
    return {
        "slot": slot,
        "pid": 100 + slot,
        "state": "spare",
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
    return worker(slot, state="active", in_flight=1, request=request(path, age_s)) | changes


def report(*workers: dict[str, Any], totals: dict[str, Any] | None = None, **manager: Any) -> dict[str, Any]:
    """A pool of these workers; `totals` and `manager` change what is told beside them."""
    states = [one["state"] for one in workers]
    counted = {state: states.count(state) for state in ("starting", "spare", "active", "draining", "stuck")}
    sums = {name: sum(one[name] for one in workers) for name in COUNTS}
    return {
        "manager": {
            "glue": "site",
            "pid": 100,
            "uptime_s": 3905.0,
            "generation": 1,
            "min_spare": 1,
            "max_spare": 3,
            "max_clients": 8,
            "overcommit": False,
            "listeners": [],
            "refork": None,
            "decisions": [],
            **manager,
        },
        "totals": {"workers": len(workers), **counted, **sums, **FIGURES, **(totals or {})},
        "workers": list(workers),
    }
