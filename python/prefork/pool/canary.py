"""Whether the new code of a reload serves as well as the old: pure functions of what both have done.

While a canary lasts, a share of the workers are of the new generation and the others of the old one
(`policy.Trial`). Both get requests of the same kind at the same time, so what differs is the code.

Owns: what each worker had done at its last reading, and from where on it counts. `judge` decides, and
`Canary` sums up what it needs.

Always: both generations are compared in the same window. The first requests of a worker count for no time,
because they fill its caches. What is worse by less than chance explains is not worse. What a worker wrote on
the scoreboard can be any number: it can end the canary, and do nothing else.

It must not know processes, clocks or the log. Every moment is an argument, in monotonic seconds.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork._engine import Scoreboard
    from prefork.pool.policy import Slot

LEAST_RESPONSES = 100
"""With fewer of each generation in the window, the canary goes on."""
LONGEST_WINDOWS = 5
"""After so many windows it ends, even if there was less to compare."""
FIRST_REQUESTS = 20
"""So many of each worker count for no time."""
LEAST_SLOWDOWN_S = 0.001
"""A response that takes so little longer is no reason to roll back."""
BURST = 5
"""So many responses with status 5xx may end the canary before the window does."""
CRASHES = 2
"""As many workers of the new generation that crash."""
CERTAIN = 4.0
"""How many standard errors a difference has to be, to end the canary before the window does."""
LIKELY = 2.0
"""How many, at its end."""
QUANTILES = (0.5, 0.9)


class Decision(enum.Enum):
    """What becomes of the new generation."""

    WAIT = "the canary goes on"
    GO_ON = "the other workers are replaced"
    ROLL_BACK = "the new workers are replaced by old ones"


@dataclass(frozen=True, slots=True)
class CanaryLimits:
    """What the operator has set. `window` is in seconds.

    `most_errors` is by how much the share of responses with status 5xx may be greater than that of the old
    code: 0.01 is one in a hundred. `most_slowdown` is by which part of it a response may take longer: 0.5 is
    half as long again.
    """

    window: float
    most_errors: float
    most_slowdown: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What one worker has done since it was spawned.

    `index`, `generation` and `since` are those of the manager's table; the rest is what the worker wrote.
    `times` are the numbers of responses by how long they took, in buckets that all readings share.
    """

    index: int
    generation: int
    since: float
    responses: int
    errors: int
    times: Sequence[int]


def readings(board: Scoreboard, slots: Iterable[Slot]) -> list[Reading]:
    """What the workers in these slots have on the scoreboard. `slots` is the manager's table."""
    found = []
    for slot in slots:
        record, times = board.read(slot.index), board.times(slot.index)
        if record is not None and times is not None:
            found.append(
                Reading(slot.index, slot.generation, slot.since, record["responses"], record["errors"], times)
            )
    return found


@dataclass(frozen=True, slots=True)
class Figures:
    """What the workers of one side have done while the canary lasts.

    `times` leaves out the first requests of each worker. `crashes` are workers that ended by themselves.
    """

    workers: int = 0
    responses: int = 0
    errors: int = 0
    crashes: int = 0
    times: Sequence[int] = ()

    @property
    def error_share(self) -> float:
        """The part of the responses that have a status of 5xx."""
        return self.errors / self.responses if self.responses else 0.0

    @property
    def timed(self) -> int:
        """How many responses have a time."""
        return sum(self.times)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is the line for the log: it says which figure decides."""

    decision: Decision
    why: str


def judge(
    old: Figures, new: Figures, limits: CanaryLimits, bounds: Sequence[float], began: float, now: float
) -> Verdict:
    """What the figures of both generations since `began` say.

    `bounds` are where the buckets of `times` begin, in seconds.
    """
    if why := _crashes(old, new) or _errors(old, new, limits, CERTAIN):
        return Verdict(Decision.ROLL_BACK, why)
    windows = (now - began) / limits.window
    fewest = min(old.responses, new.responses)
    if windows < 1 or (fewest < LEAST_RESPONSES and windows < LONGEST_WINDOWS):
        return Verdict(Decision.WAIT, _progress(old, new, limits, began, now))
    if why := _errors(old, new, limits, LIKELY) or _slowdown(old, new, limits, bounds):
        return Verdict(Decision.ROLL_BACK, why)
    return Verdict(Decision.GO_ON, _comparison(old, new, bounds))


# --- what can be worse -----------------------------------------------------------------------------------


def _crashes(old: Figures, new: Figures) -> str:
    """Workers of the new generation that crash, more often than those of the old one do."""
    before = old.crashes / max(old.workers, 1) * max(new.workers, 1)
    if new.crashes < CRASHES or new.crashes <= 2 * before:
        return ""
    return f"{new.crashes} new workers crashed, of the old ones {old.crashes}"


def _errors(old: Figures, new: Figures, limits: CanaryLimits, deviations: float) -> str:
    """Whether the new code fails more often than it may, and so much that it is no chance."""
    more = new.error_share - old.error_share
    if new.errors < BURST or more <= limits.most_errors:
        return ""
    share = (old.errors + new.errors) / (old.responses + new.responses)
    variance = share * (1 - share) * (1 / new.responses + (1 / old.responses if old.responses else 0.0))
    if more < deviations * math.sqrt(variance):
        return ""
    return (
        f"{_percent(new.error_share)} of {new.responses} responses have status 5xx, of the old workers' "
        f"{old.responses} {_percent(old.error_share)} (--canary-max-errors {_percent(limits.most_errors)})"
    )


def _slowdown(old: Figures, new: Figures, limits: CanaryLimits, bounds: Sequence[float]) -> str:
    """Whether the new code is slower than it may be.

    Of each quantile the least that it is likely to be for the new code is compared with the most for the old
    one. If one response in ten is slow, one in nine of a sample may be.
    """
    if not (old.timed and new.timed):
        return ""
    for quantile in QUANTILES:
        before_s = time_at(old.times, bounds, quantile + _uncertainty(quantile, old.timed))
        after_s = time_at(new.times, bounds, quantile - _uncertainty(quantile, new.timed))
        if after_s > max(before_s * (1 + limits.most_slowdown), before_s + LEAST_SLOWDOWN_S):
            shown = [_duration(time_at(figures.times, bounds, quantile)) for figures in (new, old)]
            return (
                f"p{quantile * 100:.0f} of the response time is {shown[0]}, of the old workers {shown[1]} "
                f"(--canary-max-slowdown {_percent(limits.most_slowdown)})"
            )
    return ""


def _uncertainty(quantile: float, count: int) -> float:
    """By how much the rank of a quantile may be wrong in a sample of `count`."""
    return LIKELY * math.sqrt(quantile * (1 - quantile) / count)


def time_at(times: Sequence[int], bounds: Sequence[float], quantile: float) -> float:
    """The time within which a share of `quantile` of the responses were made, in seconds; 0 without any.

    Within a bucket it is interpolated.
    """
    wanted = min(max(quantile, 0.0), 1.0) * sum(times)
    for index, (count, until) in enumerate(zip(times, accumulate(times), strict=True)):
        if count and until >= wanted:
            begin = bounds[index]
            end = bounds[index + 1] if index + 1 < len(bounds) else 2 * begin
            return begin + (end - begin) * max(0.0, (wanted - (until - count)) / count)
    return 0.0


# --- what the lines say ----------------------------------------------------------------------------------


def _progress(old: Figures, new: Figures, limits: CanaryLimits, began: float, now: float) -> str:
    passed = f"{now - began:.0f} s of {limits.window:g} s"
    return f"{passed}, {new.responses} responses of new workers and {old.responses} of old ones"


def _comparison(old: Figures, new: Figures, bounds: Sequence[float]) -> str:
    if min(old.responses, new.responses) < LEAST_RESPONSES:
        return (
            f"there were too few requests to compare: {new.responses} responses of new workers and "
            f"{old.responses} of old ones, expected {LEAST_RESPONSES} of each"
        )
    parts = [f"5xx {_percent(new.error_share)} ({_percent(old.error_share)})"]
    for quantile in QUANTILES:
        after, before = (_duration(time_at(figures.times, bounds, quantile)) for figures in (new, old))
        parts.append(f"p{quantile * 100:.0f} {after} ({before})")
    return f"new workers serve as the old ones (in brackets): {', '.join(parts)}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _duration(duration_s: float) -> str:
    return f"{duration_s:.3g} s" if duration_s >= 1 else f"{duration_s * 1000:.3g} ms"


# --- the window ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Worker:
    """A worker, from where on it counts, and what it had done last. `timed_from`: None until it is warm."""

    is_new: bool
    counts_from: Reading
    timed_from: Reading | None
    last: Reading


class Canary:
    """Compares the workers of `generation` with those of the one before, from `began` on.

    `bounds` are those of the `times` of each reading, as in `judge`.
    """

    def __init__(self, generation: int, limits: CanaryLimits, bounds: Sequence[float], began: float) -> None:
        self.generation = generation
        self._limits = limits
        self._bounds = bounds
        self._began = began
        self._workers: dict[tuple[int, float], _Worker] = {}
        self._crashes = {False: 0, True: 0}
        self._failure = ""

    def observe(self, readings: Iterable[Reading], now: float) -> Verdict:
        """Takes a reading of each worker that lives now, and judges. To be called about once per second."""
        for reading in readings:
            self._take(reading)
        if self._failure:
            return Verdict(Decision.ROLL_BACK, self._failure)
        return judge(
            self.figures(new=False), self.figures(new=True), self._limits, self._bounds, self._began, now
        )

    def boot_failed(self, generation: int, why: str) -> None:
        """A worker has failed to start. If it is a new one, the next verdict is to roll back."""
        if generation == self.generation and not self._failure:
            self._failure = f"a new worker failed to start: {why}"

    def crashed(self, generation: int) -> None:
        """A worker that was ready has ended by itself."""
        self._crashes[generation == self.generation] += 1

    def figures(self, *, new: bool) -> Figures:
        """What the new workers have done, or the others."""
        workers = [worker for worker in self._workers.values() if worker.is_new == new]
        timed = [(worker.last, worker.timed_from) for worker in workers if worker.timed_from is not None]
        counted = [_counted(worker) for worker in workers]
        return Figures(
            workers=len(workers),
            responses=sum(responses for responses, _ in counted),
            errors=sum(errors for _, errors in counted),
            crashes=self._crashes[new],
            times=[
                sum(_grown(last.times[bucket], first.times[bucket]) for last, first in timed)
                for bucket in range(len(self._bounds))
            ],
        )

    def _take(self, reading: Reading) -> None:
        key = (reading.index, reading.since)
        worker = self._workers.get(key)
        if worker is None:
            nothing = Reading(reading.index, reading.generation, reading.since, 0, 0, [0] * len(self._bounds))
            was_there = reading.since < self._began and reading.generation != self.generation
            counts_from = reading if was_there else nothing
            worker = _Worker(reading.generation == self.generation, counts_from, None, reading)
            self._workers[key] = worker
        worker.last = reading
        if worker.timed_from is None and reading.responses >= FIRST_REQUESTS:
            worker.timed_from = reading


def _counted(worker: _Worker) -> tuple[int, int]:
    """The responses of a worker that count, and how many of them are errors."""
    responses = _grown(worker.last.responses, worker.counts_from.responses)
    return responses, min(_grown(worker.last.errors, worker.counts_from.errors), responses)


def _grown(last: int, first: int) -> int:
    """A count that a worker has set back has not grown."""
    return max(0, last - first)
