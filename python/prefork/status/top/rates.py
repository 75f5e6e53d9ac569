"""How much happens in a second: what two reports on a pool differ by (pure).

A worker is the same in both if slot, pid and generation are. What it wrote may be anything: a rate is never
negative, and no share is above what a moment has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Report = Mapping[str, Any]
Key = tuple[int, int, int]


class WorkerRates(NamedTuple):
    """Of one worker: requests per second, the share of the time that it was busy, and of a core."""

    requests: float = 0.0
    busy: float = 0.0
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Of a pool, per second. `cpu` is in cores, and the other figures are counts and bytes."""

    requests: float = 0.0
    errors: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    cpu: float = 0.0
    workers: Mapping[Key, WorkerRates] = field(default_factory=dict)

    def of(self, worker: Report) -> WorkerRates:
        """Those of a worker; nothing for one that is new."""
        return self.workers.get(key(worker), WorkerRates())


def key(worker: Report) -> Key:
    """What tells a worker from the next one in its slot."""
    return worker["slot"], worker["pid"], worker["generation"]


def between(before: Report | None, after: Report, passed_s: float) -> Rates:
    """What happened between two reports, `passed_s` apart."""
    if before is None or passed_s <= 0:
        return Rates()
    old, new = before["totals"], after["totals"]
    known = {key(worker): worker for worker in before["workers"]}
    workers = {
        key(worker): _of_worker(known[key(worker)], worker, passed_s)
        for worker in after["workers"]
        if key(worker) in known
    }
    return Rates(
        **{
            name: max(0.0, (new[name] - old[name]) / passed_s)
            for name in ("requests", "errors", "bytes_in", "bytes_out")
        },
        cpu=sum(rates.cpu for rates in workers.values()),
        workers=workers,
    )


def _of_worker(old: Report, new: Report, passed_s: float) -> WorkerRates:
    # It writes how long it was busy at the end of a turn of its loop. One that can take no request and had no
    # turn all the time was busy all the time.
    is_in_one_call = new["state"] in ("active", "stuck") and new["since_turn_s"] >= passed_s
    busy = 1.0 if is_in_one_call else (new["busy_s"] - old["busy_s"]) / passed_s
    cpu_s = 0.0 if new["cpu_s"] is None or old["cpu_s"] is None else new["cpu_s"] - old["cpu_s"]
    return WorkerRates(
        requests=max(0.0, (new["requests"] - old["requests"]) / passed_s),
        busy=min(1.0, max(0.0, busy)),
        cpu=max(0.0, cpu_s / passed_s),
    )
