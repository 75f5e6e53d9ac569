"""The memory of the workers, for what is shown again and again: a few of them are read each time.

To read the memory of a worker takes time, more if it has much. So a budget is spent each time and no more,
and what one worker takes beyond that is saved the next times. Of workers that were not read yet, the mean of
the others is assumed, or of those before them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from prefork.pool.memory import proportional

BUDGET_S = 0.0005
"""Of a page that is drawn each second."""


class PoolMemory:
    """`read(pid)` returns the memory of a process in bytes, None if the system does not tell. `budget_s` is
    spent each time.
    """

    def __init__(
        self,
        read: Callable[[int], int | None] = proportional,
        clock: Callable[[], float] = time.perf_counter,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._read = read
        self._clock = clock
        self._budget_s = budget_s
        self._known: dict[int, int] = {}
        """By pid; the one that was read last is the last one."""
        self._mean: int | None = None
        """Of those that were known last."""
        self._overspent_s = 0.0

    def known(self, pids: Collection[int]) -> Mapping[int, int]:
        """That of each of these workers that was read, some of them now."""
        living = set(pids)
        self._known = {pid: size for pid, size in self._known.items() if pid in living}
        self._overspent_s = max(0.0, self._overspent_s - self._budget_s)
        if not self._overspent_s:
            self._look([*(pid for pid in pids if pid not in self._known), *self._known])
        return self._known

    def total(self, pids: Collection[int]) -> int | None:
        """That of these workers. None: the system tells of none of them."""
        if known := self.known(pids):
            self._mean = sum(known.values()) // len(known)
        return None if self._mean is None else self._mean * len(pids)

    def _look(self, pids: Collection[int]) -> None:
        began = self._clock()
        for pid in pids:
            size = self._read(pid)
            self._known.pop(pid, None)
            if size is not None:
                self._known[pid] = size
            if (spent_s := self._clock() - began) >= self._budget_s:
                self._overspent_s = spent_s - self._budget_s
                return
