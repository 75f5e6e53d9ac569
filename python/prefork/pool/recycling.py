"""Which workers are to be replaced for their age or their memory: a pure function of what is known of them.

It has no clock, no process and no file. What it returns is carried out by the policy (`policy.py`): a worker
serves on until another one is ready.

Always: the limits of workers that started together are not reached together; a worker is not replaced for its
memory before `least_age_s`, which grows as long as its successors need as much. So an application that needs
more memory than it may have costs a limited number of workers in any time.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

JITTER = 0.1
"""The limit of each worker is lower by up to this share."""

LEAST_AGE_S = 10.0
MOST_LEAST_AGE_S = 600.0

WORTH = 1.2
"""For the memory of the pool, a worker is replaced that uses so many times as much as the smallest one."""

RELIEF = 0.95
"""The pool is no longer too large below this share of its limit."""


@dataclass(frozen=True, slots=True)
class RecyclingLimits:
    """What the operator has set; 0 is no limit. `max_bytes` is of one worker, `max_pool_bytes` of all."""

    max_age_s: float
    max_bytes: int
    max_pool_bytes: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker that serves. `since` is when it was spawned, in monotonic seconds; `lot`, from 0 to 1, is its
    part of the jitter. `bytes` is its memory, None if that is not known. `outdated`: it is being replaced.
    """

    index: int
    since: float
    lot: float
    bytes: int | None = None
    outdated: bool = False


class Reason(enum.Enum):
    """Why a worker is replaced."""

    AGE = "max_age"
    MEMORY = "max_memory"
    POOL_MEMORY = "max_pool_memory"


@dataclass(frozen=True, slots=True)
class RecyclingState:
    """What one call leaves for the next.

    No worker is replaced for its memory before it is `least_age_s` old. That was raised last at `raised_at`.
    `is_crowded`: the workers use more than `max_pool_bytes`.
    """

    least_age_s: float = LEAST_AGE_S
    raised_at: float = -math.inf
    is_crowded: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The workers to replace, and why. `bytes` is what all of them use together."""

    due: tuple[tuple[Seen, Reason], ...]
    bytes: int
    state: RecyclingState


def due(workers: Sequence[Seen], limits: RecyclingLimits, state: RecyclingState, now: float) -> Verdict:
    """Which of the workers have reached a limit at `now`, in monotonic seconds."""
    fresh = [worker for worker in workers if not worker.outdated]
    found = {worker.index: (worker, Reason.AGE) for worker in fresh if _is_old(worker, limits, now)}
    grown = [worker for worker in fresh if _has_grown(worker, limits, now, state.least_age_s)]
    found |= {worker.index: (worker, Reason.MEMORY) for worker in grown if worker.index not in found}
    total = sum(worker.bytes or 0 for worker in workers)
    is_crowded = 0 < limits.max_pool_bytes * (RELIEF if state.is_crowded else 1) < total
    # One at a time: what is freed when it has ended decides about the next.
    if is_crowded and not found and len(fresh) == len(workers):
        largest = _worth_most(workers, now, state.least_age_s)
        if largest is not None:
            grown = [largest]
            found[largest.index] = (largest, Reason.POOL_MEMORY)
    return Verdict(tuple(found.values()), total, replace(_paced(grown, state, now), is_crowded=is_crowded))


def _limited(limit: float, worker: Seen) -> float:
    return limit * (1 - JITTER * worker.lot)


def _is_old(worker: Seen, limits: RecyclingLimits, now: float) -> bool:
    return limits.max_age_s > 0 and now - worker.since >= _limited(limits.max_age_s, worker)


def _has_grown(worker: Seen, limits: RecyclingLimits, now: float, least_age_s: float) -> bool:
    is_over = limits.max_bytes > 0 and (worker.bytes or 0) > _limited(limits.max_bytes, worker)
    return is_over and now - worker.since >= least_age_s


def _worth_most(workers: Sequence[Seen], now: float, least_age_s: float) -> Seen | None:
    """The largest worker, if a new one would use less."""
    known = [worker for worker in workers if worker.bytes is not None]
    least = min((worker.bytes or 0 for worker in known), default=0)
    worth = [
        worker
        for worker in known
        if (worker.bytes or 0) > WORTH * least and now - worker.since >= least_age_s
    ]
    return max(worth, key=lambda worker: (worker.bytes or 0, -worker.since, worker.index), default=None)


def _paced(grown: Sequence[Seen], state: RecyclingState, now: float) -> RecyclingState:
    """Raises the least age if workers are replaced as soon as they may be, and lowers it if they live longer.

    Those that started before the last change say nothing about it.
    """
    least_s = state.least_age_s
    ages = [now - worker.since for worker in grown if worker.since >= state.raised_at]
    if any(age < 2 * least_s for age in ages):
        return replace(state, least_age_s=min(2 * least_s, MOST_LEAST_AGE_S), raised_at=now)
    if ages and least_s > LEAST_AGE_S:
        return replace(state, least_age_s=max(least_s / 2, LEAST_AGE_S), raised_at=now)
    return state
