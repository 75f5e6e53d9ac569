"""What the live page shows at one moment, made of the report on the pool, and how a browser gets it.

Pure: reports, histograms and times are arguments. What a worker wrote is shown and decides nothing: each
number may be any, and each text is escaped here, in one place.

It must not know sockets, timers or HTML.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from prefork.logs.escaping import escape_line
from prefork.pool.scoreboard import LIMITED, time_within

Report: TypeAlias = Mapping[str, Any]
Buckets: TypeAlias = Sequence[tuple[float, int]]
"""Of a histogram: an upper bound in seconds, and how many were not above it. The last bound is infinite."""

COLUMNS = (
    "t",
    "spare",
    "active",
    "starting",
    "draining",
    "stuck",
    "queue",
    "request_rate",
    "rate_4xx",
    "rate_5xx",
    "wait_p50",
    "wait_p90",
    "wait_p99",
    "application_p50",
    "application_p90",
    "application_p99",
    "memory",
    "handed_off_rate",
    "adopted_rate",
)
"""What is drawn over time. `t` is in seconds since the pool began, a rate per second, a quantile in
milliseconds, memory in bytes. None: not known.
"""
STATES = ("spare", "active", "starting", "draining", "stuck")
MARKS = {"starting": "*", "active": "9", "draining": "~", "stuck": "!"}
"""A slot as one character. A spare is the number of its requests, up to 8."""
EMPTY, GARBLED = ".", "?"
REQUESTS = 20
"""Of the requests in flight, so many are shown: the oldest."""
LONGEST = 120
"""Of a path, so many characters are shown."""
DECISIONS = 16
"""Of the decisions of the pool, so many are shown: the newest."""
WINDOW_S = 5.0
"""Quantiles are those of so many seconds."""
GAP_S = 5.0
"""Rates are not computed across a longer time without a report."""
SHARES = (0.5, 0.9, 0.99)

_OF_MANAGER = (
    "min_spare",
    "max_spare",
    "max_clients",
    "generation",
    "overcommit",
    "stopping",
    "forked",
    "died",
    "boot_failed",
)
_OF_TOTALS = ("requests", "connections", "in_flight", "bytes_in", "bytes_out", "handed_off", "adopted")


class Current(NamedTuple):
    """A request that a worker has in flight: the one that began last."""

    slot: int
    method: str
    path: str
    client: str
    phase: str
    age_s: float


class Decision(NamedTuple):
    """What the pool has decided at `t`."""

    t: float
    change: int
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`row` has a value for each of COLUMNS, `who` the pid and the generation of the worker of each slot."""

    name: str
    manager: int
    places: tuple[str, ...]
    row: tuple[float | None, ...]
    slots: str
    who: Mapping[int, tuple[int, int]]
    requests: tuple[Current, ...]
    facts: Mapping[str, int]
    decisions: tuple[Decision, ...]
    config: tuple[tuple[str, str], ...]

    @property
    def values(self) -> dict[str, float | None]:
        """By name, what is drawn over time and what is not."""
        return {**dict(zip(COLUMNS, self.row, strict=True)), **self.facts}


class _Sample(NamedTuple):
    """What rates and quantiles follow from."""

    t: float
    counts: Mapping[str, int]
    histograms: Mapping[str, Buckets]


class Sampler:
    """Takes a snapshot of each report. It keeps of former ones what rates and quantiles follow from."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def take(
        self,
        report: Report,
        histograms: Mapping[str, Buckets],
        *,
        memory: int | None = None,
        config: Iterable[tuple[str, str]] = (),
    ) -> Snapshot:
        manager, totals, workers = report["manager"], report["totals"], report["workers"]
        values: dict[str, float | None] = {name: totals[name] for name in STATES}
        values |= {"t": round(manager["uptime_s"], 1), "queue": totals["waiting"], "memory": memory}
        values |= self._moving(_Sample(manager["uptime_s"], _counts(totals), histograms))
        return Snapshot(
            name=escape_line(str(manager["glue"])),
            manager=manager["pid"],
            places=tuple(escape_line(str(place["url"])) for place in manager["listeners"] or ()),
            row=tuple(values[name] for name in COLUMNS),
            slots=slots(workers),
            who={worker["slot"]: (worker["pid"], worker["generation"]) for worker in workers},
            requests=oldest(workers),
            facts=_facts(manager, totals),
            decisions=_decisions(manager),
            config=tuple(config),
        )

    def _moving(self, sample: _Sample) -> dict[str, float | None]:
        """The rates since the last sample, and the quantiles of the last WINDOW_S."""
        samples = self._samples
        if samples and not 0 < sample.t - samples[-1].t <= GAP_S:
            samples.clear()
        last = samples[-1] if samples else None
        values: dict[str, float | None] = {
            name: None if last is None else _rate(last, sample, counted) for name, counted in _RATES.items()
        }
        for name in ("wait", "application"):
            before = samples[0].histograms[name] if samples else ()
            found = quantiles(sample.histograms[name], before, SHARES)
            for share, value in zip(SHARES, found, strict=True):
                values[f"{name}_p{share * 100:.0f}"] = None if value is None else _short(1000 * value)
        samples.append(sample)
        while samples[0].t < sample.t - WINDOW_S:
            samples.popleft()
        return values


_RATES = {
    "request_rate": "requests",
    "rate_4xx": "4xx",
    "rate_5xx": "5xx",
    "handed_off_rate": "handed_off",
    "adopted_rate": "adopted",
}


def _counts(totals: Report) -> dict[str, int]:
    return {**{name: totals[name] for name in ("requests", "handed_off", "adopted")}, **totals["classes"]}


def _rate(last: _Sample, sample: _Sample, name: str) -> float:
    return _short(max(0, sample.counts[name] - last.counts[name]) / (sample.t - last.t))


def _short(value: float) -> float:
    """With three digits: more are noise, and take room in each frame."""
    return float(f"{value:.3g}")


def quantiles(now: Buckets, before: Buckets, shares: Sequence[float]) -> list[float | None]:
    """In seconds, of what was counted since `before`. None: nothing was, or `before` is of another form."""
    if not before or len(now) != len(before):
        return [None] * len(shares)
    since = [(bound, max(0, count - former)) for (bound, count), (_, former) in zip(now, before, strict=True)]
    return [time_within(since, share) if since[-1][1] else None for share in shares]


def slots(workers: Iterable[Report]) -> str:
    """Each slot as one character, up to the last one in use."""
    marks: dict[int, str] = {worker["slot"]: _mark(worker) for worker in workers}
    return "".join(marks.get(slot, EMPTY) for slot in range(max(marks, default=-1) + 1))


def _mark(worker: Report) -> str:
    if worker["is_garbled"]:
        return GARBLED
    return MARKS.get(worker["state"]) or str(min(8, max(0, worker["in_flight"])))


def oldest(workers: Iterable[Report]) -> tuple[Current, ...]:
    """The requests in flight that began first."""
    current = (worker for worker in workers if worker["request"] is not None)
    chosen = sorted(current, key=lambda worker: worker["request"]["age_s"], reverse=True)[:REQUESTS]
    return tuple(_current(worker["slot"], worker["request"]) for worker in chosen)


def _current(slot: int, request: Report) -> Current:
    method, path, client, phase = (_text(request[name]) for name in ("method", "path", "client", "phase"))
    return Current(slot, method, path, client, phase, round(request["age_s"], 2))


def _text(value: str | None) -> str:
    text = escape_line(value or "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _facts(manager: Report, totals: Report) -> dict[str, int]:
    facts = {name: int(manager[name]) for name in _OF_MANAGER} | {name: totals[name] for name in _OF_TOTALS}
    return facts | {"limited": sum(totals[name] for name in LIMITED)}


def _decisions(manager: Report) -> tuple[Decision, ...]:
    now = manager["uptime_s"]
    return tuple(
        Decision(round(now - one["age_s"], 1), one["change"], escape_line(one["why"]))
        for one in (manager.get("decisions") or ())[-DECISIONS:]
    )


# --- as a browser gets it --------------------------------------------------------------------------------


def whole(snapshot: Snapshot, past: Iterable[Sequence[float | None]]) -> bytes:
    """All that the page needs: the first message to a client. `past` are the rows before and that of the
    snapshot.
    """
    return _message(
        {
            "columns": COLUMNS,
            "past": list(past),
            "name": snapshot.name,
            "manager": snapshot.manager,
            "places": snapshot.places,
            "slots": snapshot.slots,
            "who": [(slot, *who) for slot, who in snapshot.who.items()],
            "requests": snapshot.requests,
            "facts": snapshot.facts,
            "decisions": snapshot.decisions,
            "config": snapshot.config,
        }
    )


def change(former: Snapshot, snapshot: Snapshot) -> bytes:
    """What a client that has `former` needs in order to have `snapshot`."""
    found: dict[str, Any] = {"row": snapshot.row, "slots": snapshot.slots, "requests": snapshot.requests}
    others: dict[str, Any] = {
        "who": [(slot, *who) for slot, who in snapshot.who.items() if former.who.get(slot) != who],
        "facts": {name: value for name, value in snapshot.facts.items() if former.facts.get(name) != value},
        "decisions": () if _are_same(former.decisions, snapshot.decisions) else snapshot.decisions,
    }
    found |= {name: value for name, value in others.items() if value}
    for name in ("name", "manager", "places", "config"):
        if (value := getattr(snapshot, name)) != getattr(former, name):
            found[name] = value
    return _message(found)


def _are_same(former: Sequence[Decision], decisions: Sequence[Decision]) -> bool:
    """Whether nothing was decided meanwhile. A time may have moved by what was rounded."""
    return len(former) == len(decisions) and all(
        one[1:] == other[1:] and abs(one.t - other.t) < 0.5
        for one, other in zip(former, decisions, strict=True)
    )


def _message(content: object) -> bytes:
    """An event of a stream (HTML Standard, 9.2). JSON has no line break, and ASCII holds any text."""
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
