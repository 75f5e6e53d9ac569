"""Has a worker become the next mold when it is time (manager; `--refork-after`).

Owns the timer of these looks, and the figures that show what it has brought. It decides nothing:
`reforking.candidate` does. The attempt itself is a `Refork`.

Always: what a worker says of its requests only begins an attempt. A look takes little of the manager's time.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Iterable, Mapping
from statistics import median
from time import thread_time
from typing import TYPE_CHECKING

from prefork.pool import memory, reforking
from prefork.pool.attached import Attached
from prefork.pool.policy import State
from prefork.pool.reforking import Schedule

if TYPE_CHECKING:
    from prefork.pool.manager import Manager
    from prefork.pool.overview import Overview
    from prefork.pool.reload import End

logger = logging.getLogger("prefork.pool")

LOOK_S = 1.0
MEASURE_S = 10.0
MOST_MEASURED = 8
"""The memory of more workers is not measured at once."""

SERVES = (State.SPARE, State.ACTIVE)


class Reforker(Attached):
    """`after` is the option `refork_after`."""

    def __init__(self, loop: AbstractEventLoop, manager: Manager, after: int) -> None:
        self._loop = loop
        self._manager = manager
        self._after = after
        self._schedule = Schedule(after)
        self._generation = 1
        """That of the workers for which the schedule is."""
        self._is_trying = False
        self._served_by_mold = 0
        self._reforks = 0
        self._before: Mapping[str, int] | None = None
        self._now: Mapping[str, int] | None = None
        self._measure_at = 0.0
        self._timer: TimerHandle = loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        began = thread_time()
        pool = self._manager.overview()
        if pool is not None and pool.keeps:
            self._look_at(pool)
        spent_s = thread_time() - began
        self._timer = self._loop.call_later(max(LOOK_S, 100 * spent_s), self._look)

    def _look_at(self, pool: Overview) -> None:
        if (
            pool.limits.generation != self._generation and not self._is_trying
        ):  # a reload has brought new code
            self._generation = pool.limits.generation
            self._schedule = Schedule(self._after)
            self._reforks, self._before, self._now = 0, None, None
        served = self._served(pool)
        index = reforking.candidate(served, self._schedule, pool.now)
        if index is not None and not pool.is_reloading and index in pool.pids:
            before = self._measured(served, pool)
            if self._manager.refork(index, self._done):
                self._is_trying, self._served_by_mold = True, served[index]
                if not self._reforks:
                    self._before = before
                text = "refork: worker %d has served %d requests and is to become the next mold"
                logger.info(text, pool.pids[index], served[index])
        if self._reforks and pool.now >= self._measure_at:
            self._measure_at = pool.now + MEASURE_S
            self._now = self._measured(served, pool)

    def _served(self, pool: Overview) -> dict[int, int]:
        """The requests of the workers that serve, but for those that are being replaced."""
        board = self._manager.resources.board
        found = {}
        for slot in pool.slots:
            if slot.state in SERVES and not slot.outdated and slot.generation == pool.limits.generation:
                record = board.read(slot.index)
                found[slot.index] = 0 if record is None else record["requests"]
        return found

    def _measured(self, served: Mapping[int, int], pool: Overview) -> dict[str, int] | None:
        """The median of the memory of some workers, in bytes, and of their requests."""
        slots = sorted(index for index in served if index in pool.pids)
        chosen = slots[:: max(1, len(slots) // MOST_MEASURED)][:MOST_MEASURED]
        found = [(served[index], memory.parts(pool.pids[index])) for index in chosen]
        known = [(requests, *parts) for requests, parts in found if parts is not None]
        if not known:
            return None
        requests, pss, private = (_median(figures) for figures in zip(*known, strict=True))
        return {"workers": len(known), "requests": requests, "pss": pss, "private": private}

    def _done(self, end: End) -> None:
        self._is_trying, self._generation = False, end.generation
        if end.failure:
            self._schedule = reforking.failed(self._schedule, self._loop.time())
            wait_s = self._schedule.not_before - self._loop.time()
            logger.info("refork: the next attempt is in %.0f s at the earliest", wait_s)
        else:
            self._schedule = reforking.succeeded(self._schedule, self._served_by_mold)
            self._reforks += 1
            self._measure_at = self._loop.time() + LOOK_S

    # --- as what is attached to a manager ----------------------------------------------------------------

    def about(self) -> Mapping[str, object]:
        """How often since the application was loaded, when again, and the memory of a worker before the first
        time and now.
        """
        return {
            "refork": {
                "count": self._reforks,
                "next_after": self._schedule.requests,
                "before": self._before if self._reforks else None,
                "now": self._now,
            }
        }

    def close(self) -> None:
        self._timer.cancel()

    def discard(self) -> None:
        """It has no descriptor."""


def _median(figures: Iterable[int]) -> int:
    return int(median(figures))
