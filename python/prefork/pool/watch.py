"""Finds the workers that take too long, says so in the log, and has them killed (manager).

Three things have a limit: a start, an end, and standing still with a request. What is overdue is decided by
the table of workers (`workers.py`) and by `stillness.py`, which are plain data.

It must not know how a worker is spawned, or how many there should be.
"""

from __future__ import annotations

import logging
import signal
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prefork.pool.stillness import LOOK_S, Stillness, is_stopped, waits_for_lock
from prefork.server.startup import STARTUP_S

if TYPE_CHECKING:
    from prefork._engine import Scoreboard
    from prefork.config.options import PreForkOptions
    from prefork.pool.workers import Worker, Workers

logger = logging.getLogger("prefork.pool")

KILL_AFTER_S = 2.0
"""How long after `graceful_timeout` a worker is killed: it closes its own connections at that moment."""

LOCKED_BOOTS = 2
"""After so many starts that hang in a lock, the log says what may help."""


class Watch:
    """`kill(index, why)` ends a worker at once, unless that is done already; `boot_overdue(worker, what)` has
    one killed that did not start. `stuck()` is called when a worker stands still, each time it is looked.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        options: PreForkOptions,
        board: Scoreboard,
        workers: Workers,
        hint: str,
        kill: Callable[[int, str], object],
        boot_overdue: Callable[[Worker, str], object],
        stuck: Callable[[], object],
    ) -> None:
        self.options = options
        """Those of now: the owner changes them."""
        self._loop = loop
        self._board = board
        self._workers = workers
        self._hint = hint
        self._kill = kill
        self._boot_overdue = boot_overdue
        self._stuck = stuck
        self._stillness = Stillness()
        self._timer: TimerHandle | None = None
        self._locked_boots = 0

    def begin(self) -> None:
        """Looks for workers that stand still, from now on."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def end(self) -> None:
        """Looks for none any more: all of them drain, and have a time for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stuck(self) -> list[int]:
        """The slots whose workers stand still."""
        return self._stillness.stuck()

    def forget(self, index: int) -> None:
        """The worker of a slot has ended."""
        self._stillness.forget(index)

    # --- starts and ends ---------------------------------------------------------------------------------

    @property
    def next_overdue_drain(self) -> float:
        """When a worker that drains will be overdue; infinity if none drains."""
        return self._workers.next_overdue_drain(*self._drain_timeouts_s)

    @property
    def _drain_timeouts_s(self) -> tuple[float, float]:
        """Of a worker, and of one whose startup goes on."""
        graceful_s = self.options.graceful_timeout
        return graceful_s + KILL_AFTER_S, min(graceful_s, STARTUP_S) + KILL_AFTER_S

    def kill_overdue(self) -> None:
        """Has the workers killed that did not start, or did not end, in time."""
        now, options = self._loop.time(), self.options
        for worker in self._workers.overdue_boots(now, options.boot_timeout):
            logger.error(
                "killing worker %d: it did not start within boot_timeout (%g s)",
                worker.pid,
                options.boot_timeout,
            )
            self._count_locked_boot(worker)
            self._boot_overdue(worker, f"worker {worker.pid} did not start within boot_timeout")
        for worker in self._workers.overdue_drains(now, *self._drain_timeouts_s):
            logger.warning(
                "killing worker %d: %s did not end within %s (%g s)",
                worker.pid,
                "its startup" if worker.starts else "it",
                "the time that it has" if worker.starts else "graceful_timeout",
                min(options.graceful_timeout, STARTUP_S) if worker.starts else options.graceful_timeout,
            )
            self._kill(worker.index, "it did not end in time")

    def _count_locked_boot(self, worker: Worker) -> None:
        assert worker.pid is not None
        self._locked_boots += waits_for_lock(worker.pid)
        if self._locked_boots == LOCKED_BOOTS:
            logger.error(
                "%d workers have waited for a lock while they started: a thread that they do not have "
                "may have had it when they were forked; %s (docs/fork-safety.md)",
                LOCKED_BOOTS,
                self._hint,
            )

    # --- standing still ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Looks for workers that stand still. Kills them if a request may not take so long."""
        self._timer = None
        now, timeout_s = self._loop.time(), self.options.request_timeout
        pids = self._workers.pids_by_slot
        for index in self._stillness.look(self._signs(pids), now):
            logger.error(
                "worker %d stands still %s: it is stopped, or waits for a disk",
                pids[index],
                requests_of(self._board.read(index), now, only="with") or "with a request",
            )
        overdue = self._stillness.stuck(timeout_s + KILL_AFTER_S) if timeout_s else []
        for index in overdue:
            if index in pids and self._workers.end_signal_of(index) != signal.SIGKILL:
                logger.error(
                    "killing worker %d: it stands still for longer than request_timeout (%g s)",
                    pids[index],
                    timeout_s,
                )
                self._kill(index, "it stood still for longer than request_timeout")
        self.begin()
        if overdue or self._stillness.stuck():
            self._stuck()

    def _signs(self, pids: Mapping[int, int]) -> list[int]:
        """The signs of the workers. One without a guard is only looked at if the system has stopped it."""
        signs = self._board.signs()
        for index, sign in enumerate(signs):
            if sign and (index not in pids or not (self.options.is_guarded or is_stopped(pids[index]))):
                signs[index] = 0
        return signs


def requests_of(record: Mapping[str, Any] | None, now: float, *, only: str) -> str | None:
    """The requests that a worker had in flight, as it wrote on the scoreboard; None if it had none.

    If there are several, how many, and one of them by name. `only` is the preposition for a single one.
    """
    if record is None or not record["in_flight"]:
        return None
    count, named = record["in_flight"], ""
    if record["request_started"] is not None:
        what = " ".join(filter(None, (record["method"], record["path"])))  # a pool may hide paths
        named = f"{what} for {now - record['request_started']:.1f} s"
    if count == 1:
        return f"{only} {named or 'a request'}"
    return f"with {count} requests in flight" + (named and f", among them {named}")
