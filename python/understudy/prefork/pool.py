"""The manager's table of its workers, and what it does with each.

Owns: the scoreboard's memory, the glue, one `Child` for every worker, the eventfds that connect them. Always:
a worker is in the table from its fork until it is reaped; which slot it has and which pid is known here, and
never read from the scoreboard, which workers write. How many there should be is `policy.plan`'s to say.

It must know no request. All of it runs in the manager; a worker forgets it (`leave`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy._engine import Scoreboard
from understudy.prefork.policy import Limits, Memory, Slot, State, boot_failed, booted, fork_failed, plan
from understudy.prefork.scoreboard import Publication, format_states

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from understudy.kernel import Kernel
    from understudy.options import PreForkOptions

logger = logging.getLogger("understudy.pool")

SPARE_SLOTS = 64
"""Slots beyond `max_clients`, for workers that still drain while others take their place."""


@dataclass(slots=True)
class Child:
    """A worker as its manager knows it. Times are monotonic seconds."""

    index: int
    pid: int
    pidfd: int
    generation: int
    since: float
    booted: bool = False
    retired: bool = False
    patience: TimerHandle | None = None

    def signal(self, signum: int) -> None:
        """By descriptor: a pid could be somebody else's by now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)


class Pool:
    """Keeps as many workers as the policy wants (manager).

    `become_worker(pool, index)` is called in each new child. `changed(what, pid)` hears of every worker that
    was 'forked', is 'spare' for the first time, or has 'died'. `emptied()` is called when a pool that was
    told to end has no worker left.

    Raises GlueInUse, and OSError when there is no shared memory.
    """

    def __init__(
        self,
        kernel: Kernel,
        options: PreForkOptions,
        become_worker: Callable[[Pool, int], object],
        changed: Callable[[str, int], object],
        emptied: Callable[[], object],
    ) -> None:
        self.kernel = kernel
        self.options = options
        self.generation = 1
        self._become_worker = become_worker
        self._changed = changed
        self._emptied = emptied
        capacity = 2 * options.max_clients + SPARE_SLOTS
        self.board = Scoreboard.create(capacity)
        try:
            self.publication = Publication(self.board, options.ipc_glue)
        except BaseException:
            self.board.close()
            raise
        # Readable while no spare is left and none can come: active workers then accept as well.
        self.gate = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._children: dict[int, Child] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._memory = Memory()
        self._gate_open = False
        self._spawning = 0
        self._stopping = False
        self._starved = False
        self._wake: TimerHandle | None = None
        self._show_again: TimerHandle | None = None
        self._counts = {"forked": 0, "died": 0, "boot_failed": 0}
        self.board.publish(
            pid=os.getpid(),
            started_ns=time.monotonic_ns(),
            started_unix_s=int(time.time()),
            generation=self.generation,
            min_spare=options.min_spare_servers,
            max_spare=options.max_spare_servers,
            max_clients=options.max_clients,
        )

    @property
    def pids(self) -> list[int]:
        """The workers' pids, oldest first."""
        return [child.pid for child in sorted(self._children.values(), key=lambda child: child.since)]

    # --- growing and shrinking ---------------------------------------------------------------------------

    def start(self) -> None:
        """Forks the first workers and keeps watch from now on."""
        loop = self.kernel.loop
        loop.add_reader(self.board.alert_fileno(), self._alarmed)
        loop.add_reader(self.publication.fileno(), self.publication.answer)
        if self.options.debug_scoreboard:
            self._show()
        self._spawn_soon(min(self.options.start_servers, self.options.max_clients))

    def replace(self) -> None:
        """Has every worker replaced by a fresh fork, one after the other."""
        self.generation += 1
        self.board.publish(generation=self.generation)
        self._plan()

    def _alarmed(self) -> None:
        """A worker took one of the last spares, or has booted."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.board.alert_fileno())
        self._plan()

    def _plan(self) -> None:
        if self._stopping or self._spawning:
            return  # after the forks that are due it is asked again
        now = time.monotonic()
        slots = self._slots()
        result = plan(slots, self._limits(), self._memory, now)
        self._memory = result.memory
        self._publish(overcommit=result.overcommit, may_grow=result.may_grow)
        for index in result.retire:
            self.retire(self._children[index])
        if result.spawn:
            self._spawn_soon(result.spawn)
        elif result.wake_at is not None and result.wake_at <= now:
            self.kernel.loop.call_soon(self._plan)
        self._call_at(min(result.wake_at or now, now) + self.options.check_spares_interval, result.wake_at)

    def _call_at(self, latest: float, wanted: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
        when = latest if wanted is None else min(latest, max(wanted, time.monotonic()))
        self._wake = self.kernel.loop.call_at(when, self._plan)

    def _slots(self) -> list[Slot]:
        states = self.board.states()
        slots = []
        for child in self._children.values():
            state = State(states[child.index]) if states[child.index] <= State.DRAINING else State.ACTIVE
            if child.retired:
                state = State.DRAINING
            elif state is not State.STARTING and not child.booted:
                child.booted = True
                self._memory = booted(self._memory)
                self._changed("spare", child.pid)
            slots.append(Slot(child.index, state, child.generation, child.since))
        return slots

    def _limits(self) -> Limits:
        options = self.options
        return Limits(
            min_spare=options.min_spare_servers,
            max_spare=options.max_spare_servers,
            max_clients=options.max_clients,
            check_interval=options.check_spares_interval,
            generation=self.generation,
            capacity=self.board.capacity,
        )

    def _publish(self, *, overcommit: bool, may_grow: bool) -> None:
        self.board.publish(overcommit=overcommit, may_grow=may_grow, **self._counts)
        if overcommit != self._gate_open:
            self._gate_open = overcommit
            if overcommit:
                os.eventfd_write(self.gate, 1)
            else:
                os.eventfd_read(self.gate)

    # --- forking -----------------------------------------------------------------------------------------

    def _spawn_soon(self, count: int) -> None:
        self._spawning += count
        self.kernel.between_turns(lambda: self._spawn(count))

    def _spawn(self, count: int) -> None:
        """Forks a batch, and only then looks at it: what is written between two forks is shared by no one."""
        forked = []
        for _ in range(0 if self._stopping else min(count, len(self._free))):
            index = self._free.pop()
            self.board.claim(index, self.generation)
            try:
                pid = self.kernel.fork()
            except OSError as error:
                self._give_back(index)
                self._fork_failed(error)
                break
            if pid == 0:
                self._become_worker(self, index)
                return
            forked.append((index, pid, time.monotonic()))
        for index, pid, since in forked:
            self._forked(index, pid, since)
        self._spawning -= count
        self._plan()

    def _forked(self, index: int, pid: int, since: float) -> None:
        self._counts["forked"] += 1
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            # Without a descriptor nobody would hear of its end.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._give_back(index)
            self._fork_failed(error)
            return
        if self._starved:
            self._starved = False
            logger.warning("workers are forked again")
        child = self._children[index] = Child(index, pid, pidfd, self.generation, since)
        self.kernel.loop.add_reader(pidfd, self._reap, child)
        self._changed("forked", pid)

    def _fork_failed(self, error: OSError) -> None:
        self._memory = fork_failed(self._memory, time.monotonic())
        if not self._starved:
            self._starved = True
            logger.error(
                "no worker can be forked: %s; going on with %d, trying again (limits: ulimit -u, cgroup, memory)",
                error.strerror,
                len(self._children),
            )

    def _reap(self, child: Child) -> None:
        """The kernel says that a worker ended."""
        self.kernel.loop.remove_reader(child.pidfd)
        os.close(child.pidfd)
        if child.patience is not None:
            child.patience.cancel()
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        booted_once = child.booted or self.board.states()[child.index] != State.STARTING
        leaving = child.retired or self.board.states()[child.index] == State.DRAINING
        del self._children[child.index]
        self._give_back(child.index)
        self._counts["died"] += 1
        if self._stopping:
            pass
        elif not booted_once and not leaving:
            self._counts["boot_failed"] += 1
            self._memory = boot_failed(self._memory, time.monotonic())
            logger.error("worker %d ended before it was ready (%s); trying again", child.pid, _ending(status))
        elif status and not leaving:
            logger.error("worker %d ended: %s; it is replaced", child.pid, _ending(status))
        self._changed("died", child.pid)
        if self._stopping and not self._children:
            self._emptied()
        self._plan()

    def _give_back(self, index: int) -> None:
        self.board.clear(index)
        self._free.append(index)

    # --- ending ------------------------------------------------------------------------------------------

    def retire(self, child: Child) -> None:
        """Lets a worker finish what it has and go. One that does not is killed after `graceful_timeout`."""
        child.retired = True
        child.signal(signal.SIGTERM)
        patience_s = self.options.graceful_timeout + 2.0  # the worker cuts its connections first
        child.patience = self.kernel.loop.call_later(patience_s, self._lose_patience, child)

    def _lose_patience(self, child: Child) -> None:
        logger.warning("worker %d did not end in time: killing it", child.pid)
        child.signal(signal.SIGKILL)

    def stop(self, *, graceful: bool) -> None:
        """Ends every worker; `emptied` is called when the last one is gone. May be called again, harder."""
        if not self._stopping:
            self._stopping = True
            self.board.publish(stopping=True)
            if self._wake is not None:
                self._wake.cancel()
        for child in list(self._children.values()):
            if not graceful:
                child.signal(signal.SIGKILL)
            elif not child.retired:
                self.retire(child)
        if not self._children:
            self.kernel.loop.call_soon(self._emptied)

    def close(self) -> None:
        """Gives up glue and memory: both are gone with this process's descriptors."""
        loop = self.kernel.loop
        if self._show_again is not None:
            self._show_again.cancel()
        loop.remove_reader(self.board.alert_fileno())
        loop.remove_reader(self.publication.fileno())
        self.publication.close()
        self.board.close()
        os.close(self.gate)

    def leave(self) -> None:
        """Worker: closes what only the manager needs. A copy of the glue would hold it."""
        self.publication.close()
        for child in self._children.values():
            os.close(child.pidfd)
        self._children.clear()

    def _show(self) -> None:
        logger.warning("%s", format_states(self.board))
        self._show_again = self.kernel.loop.call_later(1.0, self._show)


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
