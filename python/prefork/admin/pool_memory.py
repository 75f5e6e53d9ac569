"""The memory of a pool, for a page that is drawn each second: a few workers are read each time.

To read the memory of a worker takes time, more if it has much. So BUDGET_S is spent each time and no more,
and what one worker takes beyond that is saved the next times. Of workers that were not read yet, the mean of
the others is assumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from prefork.pool.memory import proportional

BUDGET_S = 0.0005


class PoolMemory:
    """`read(pid)` returns the memory of a process in bytes, None if the system does not tell."""

    def __init__(
        self,
        read: Callable[[int], int | None] = proportional,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[int, int] = {}
        """By pid; the one that was read last is the last one."""
        self._overspent_s = 0.0

    def total(self, pids: Collection[int]) -> int | None:
        """That of these workers. None: the system tells of none of them."""
        living = set(pids)
        self._known = {pid: size for pid, size in self._known.items() if pid in living}
        self._overspent_s = max(0.0, self._overspent_s - BUDGET_S)
        if not self._overspent_s:
            self._look([*(pid for pid in pids if pid not in self._known), *self._known])
        if not self._known:
            return None
        return sum(self._known.values()) * len(pids) // len(self._known)

    def _look(self, pids: Collection[int]) -> None:
        began = self._clock()
        for pid in pids:
            size = self._read(pid)
            self._known.pop(pid, None)
            if size is not None:
                self._known[pid] = size
            if (spent_s := self._clock() - began) >= BUDGET_S:
                self._overspent_s = spent_s - BUDGET_S
                return
