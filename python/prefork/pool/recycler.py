"""Looks at the age and the memory of the workers, and at the memory of the machine (manager).

Owns the timer of these looks and what was measured. It decides nothing: `recycling.due` and `pressure.judge`
do. It has the supervisor replace workers, or keep no more spares than it must, and logs why.

Always: a look takes little of the manager's time. What does not fit into it is measured at the next one.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

from prefork.pool import memory, pressure, recycling
from prefork.pool.memory import Pressure, PressureFiles
from prefork.pool.pressure import PressureState
from prefork.pool.recycling import Reason, RecyclingLimits, RecyclingState, Seen, Verdict
from prefork.pool.stillness import is_stopped

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.supervisor import Supervisor
    from prefork.pool.workers import Worker

logger = logging.getLogger("prefork.pool")

LOOK_S = 1.0
SLICE_S = 0.005
"""So long a look measures memory at most, but for the last worker of it."""

DEFAULT_PRESSURE = 0.1


class Recycler:
    """`supervisor` has the workers."""

    def __init__(self, loop: AbstractEventLoop, options: PreForkOptions, supervisor: Supervisor) -> None:
        self._loop = loop
        self._options = options
        self._supervisor = supervisor
        self._bytes: dict[int, int] = {}
        """What each worker used when it was last measured, by pid; those that wait for longest first."""
        self._state = RecyclingState()
        self._pressure = PressureState()
        self._files = PressureFiles()
        self._counts_shared = False
        self._tell_what_is_missing()
        self._timer: TimerHandle = loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Looks no more."""
        self._timer.cancel()

    def _tell_what_is_missing(self) -> None:
        if self._options.memory_pressure and not self._files.read().is_known:
            logger.info(
                "memory_pressure: this system does not tell it (/proc/pressure/memory, memory.events)"
            )

    def _look(self) -> None:
        began = thread_time()
        now = self._loop.time()
        workers = [worker for worker in self._supervisor.workers if worker.serves]
        self._measure(workers)
        seen = [self._seen(worker) for worker in workers]
        options = self._options
        limits = RecyclingLimits(options.max_age, options.max_memory, options.max_pool_memory)
        verdict = recycling.due(seen, limits, self._state, now)
        self._log_crowding(verdict)
        least_age_s, self._state = self._state.least_age_s, verdict.state
        pids = {worker.index: worker.pid for worker in workers}
        for worker, reason in verdict.due:
            self._log(pids[worker.index], worker, reason, verdict.bytes, now)
        if self._state.least_age_s > least_age_s:
            logger.warning(
                "workers reach their limit of memory as soon as %g s after their start, which is too low for "
                "this application; none is replaced for it now before it is %g s old",
                least_age_s,
                self._state.least_age_s,
            )
        self._look_at_pressure(now)
        self._supervisor.keep_few_spares(self._state.is_crowded or self._pressure.since is not None)
        self._supervisor.recycle([worker.index for worker, _ in verdict.due])
        spent_s = thread_time() - began
        self._timer = self._loop.call_later(max(LOOK_S, 100 * spent_s), self._look)

    # --- memory of the workers ---------------------------------------------------------------------------

    def _measure(self, workers: list[Worker]) -> None:
        options = self._options
        pids = {worker.pid for worker in workers if worker.pid is not None}
        self._bytes = {pid: size for pid, size in self._bytes.items() if pid in pids}
        if not (options.max_memory or options.max_pool_memory):
            return
        new = pids - self._bytes.keys()
        until = perf_counter() + SLICE_S
        for pid in [*new, *self._bytes]:
            self._bytes.pop(pid, None)
            size = self._memory_of(pid)
            if size is not None:
                self._bytes[pid] = size  # at the end: it is measured again after all others
            if perf_counter() >= until:
                break

    def _memory_of(self, pid: int) -> int | None:
        """Its exact memory where that matters: it takes a lock of the process, and longer."""
        resident = memory.resident(pid)
        options = self._options
        is_small = resident is not None and resident <= options.max_memory * (1 - recycling.JITTER)
        if resident is None or (is_small and not options.max_pool_memory) or is_stopped(pid):
            return resident
        exact = memory.proportional(pid)
        if exact is None and not self._counts_shared:
            self._counts_shared = True
            logger.warning(
                "the memory that workers share is counted for each of them: this system does not tell their "
                "parts of it (/proc/PID/smaps_rollup)"
            )
        return resident if exact is None else exact

    def _seen(self, worker: Worker) -> Seen:
        assert worker.pid is not None
        lot = worker.pid * 0x9E3779B1 % (1 << 32) / (1 << 32)
        return Seen(worker.index, worker.since, lot, self._bytes.get(worker.pid), worker.outdated)

    # --- the log -----------------------------------------------------------------------------------------

    def _log(self, pid: int | None, worker: Seen, reason: Reason, total: int, now: float) -> None:
        size = _size(worker.bytes or 0)
        if reason is Reason.AGE:
            logger.info("worker %d is %.0f s old (max_age): replacing it", pid, now - worker.since)
        elif reason is Reason.MEMORY:
            limit = _size(self._options.max_memory)
            logger.info("worker %d uses %s (max_memory %s): replacing it", pid, size, limit)
        else:
            limit = _size(self._options.max_pool_memory)
            logger.info(
                "the workers use %s (max_pool_memory %s): replacing worker %d, the largest with %s",
                _size(total),
                limit,
                pid,
                size,
            )

    def _log_crowding(self, verdict: Verdict) -> None:
        if verdict.state.is_crowded == self._state.is_crowded:
            return
        text = "the workers use %s (max_pool_memory %s): no more spares than min_spare are kept"
        if not verdict.state.is_crowded:
            text = "the workers use %s again (max_pool_memory %s)"
        logger.warning(text, _size(verdict.bytes), _size(self._options.max_pool_memory))

    # --- memory of the machine ---------------------------------------------------------------------------

    def _look_at_pressure(self, now: float) -> None:
        threshold = self._options.memory_pressure
        threshold = DEFAULT_PRESSURE if threshold is None else threshold
        if not threshold:
            return
        found = self._files.read()
        before, self._pressure = self._pressure, pressure.judge(found, 100 * threshold, self._pressure, now)
        if before.since is None and self._pressure.since is not None:
            logger.warning(
                "memory is short (%s): no more spares than min_spare are kept", _figures(found, before)
            )
        elif before.since is not None and self._pressure.since is None:
            logger.warning(
                "memory is not short any more (%s), after %.0f s", _figures(found, before), now - before.since
            )


def _figures(found: Pressure, before: PressureState) -> str:
    figures = []
    if found.share is not None:
        figures.append(f"{found.share:g} % of the time is lost to it")
    if found.high is not None and before.high is not None and found.high > before.high:
        figures.append(f"the cgroup has reached memory.high {found.high - before.high} times")
    return ", ".join(figures)


def _size(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
