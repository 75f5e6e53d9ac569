"""The manager's table of its workers, as plain data.

Owns: one `Worker` for each slot in use, and the counts of those that came and went.

Always: a slot is in the table from the request for its worker until that worker is reaped, or the request is
withdrawn. Which pid has which slot is known here, and never read from the scoreboard, which workers write.

It must not know processes, descriptors, clocks or the log. Every moment is an argument, in monotonic seconds.
"""

from __future__ import annotations

import enum
import math
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prefork.kernel.run import BROKEN
from prefork.pool.policy import Slot, State
from prefork.pool.policy_state import EARLY_S


@dataclass(slots=True)
class Worker:
    """A worker as its manager knows it.

    `since` is when it was spawned, or was requested as long as `pid` is None. `end_signal` is the one
    that was sent to end it, or 0. `draining_since` is when that was, or when it was first seen to drain.
    `ready_since` is when it was first seen to be ready.
    """

    index: int
    generation: int
    since: float
    pid: int | None = None
    state: State = State.STARTING
    ready_since: float | None = None
    starts: bool = False
    """Whether its startup goes on, although it was told to end."""
    outdated: bool = False
    """Whether it is to be replaced, once another worker is ready."""

    @property
    def booted(self) -> bool:
        return self.ready_since is not None

    @property
    def serves(self) -> bool:
        return self.pid is not None and self.state in (State.SPARE, State.ACTIVE)

    end_signal: int = 0
    draining_since: float | None = None
    has_left: bool = False
    """Whether it has written that it takes no new request."""


class Exit(enum.Enum):
    """What the end of a worker means."""

    EXPECTED = "it was signalled, or drained, and ended well"
    UNCLEAN = "it was signalled, or drained, and ended otherwise"
    STUCK = "its guard ended it, because its Python was stuck"
    BOOT_FAILED = "it ended before it was ready"
    EARLY = "it ended by itself, so soon after it was ready that its successor may do the same"
    LEFT = "it drained by itself and ended well, so soon that its successor may do the same"
    DIED = "it ended without a signal to do so"


class Workers:
    """The workers of one pool. `capacity` is the number of slots.

    `spawned`, `died` and `boot_failed` count over the life of the pool.
    """

    def __init__(self, capacity: int) -> None:
        self.spawned = 0
        self.died = 0
        self.boot_failed = 0
        self._workers: dict[int, Worker] = {}
        self._free = list(range(capacity - 1, -1, -1))

    def __iter__(self) -> Iterator[Worker]:
        """The workers that exist, without those that are only requested."""
        return (worker for worker in self._workers.values() if worker.pid is not None)

    @property
    def pids(self) -> list[int]:
        """The pids of the workers, oldest first."""
        oldest_first = sorted(self._workers.values(), key=lambda worker: worker.since)
        return [worker.pid for worker in oldest_first if worker.pid is not None]

    @property
    def pids_by_slot(self) -> dict[int, int]:
        """The pid of the worker in each slot."""
        return {worker.index: worker.pid for worker in self if worker.pid is not None}

    @property
    def waiting(self) -> int:
        """How many workers are requested and have not come yet."""
        return sum(worker.pid is None for worker in self._workers.values())

    @property
    def is_empty(self) -> bool:
        """Whether no slot is in use."""
        return not self._workers

    @property
    def is_waiting(self) -> bool:
        """Whether a worker is requested and has not come yet."""
        return self.waiting > 0

    def generation_of(self, index: int) -> int:
        """The generation of the worker in a slot."""
        return self._workers[index].generation

    def end_signal_of(self, index: int) -> int:
        """The signal that was sent to end the worker in a slot, or 0."""
        return self._workers[index].end_signal

    def start_s(self, index: int, now: float) -> float:
        """How long the start of the worker in a slot has taken."""
        worker = self._workers[index]
        return (now if worker.ready_since is None else worker.ready_since) - worker.since

    def older_than(self, generation: int) -> bool:
        """Whether a worker of a former generation may still take a request."""
        return any(
            worker.generation < generation and not worker.has_left for worker in self._workers.values()
        )

    def slots(self) -> list[Slot]:
        """The table as the policy takes it."""
        return [
            Slot(worker.index, worker.state, worker.generation, worker.since, worker.outdated)
            for worker in self._workers.values()
        ]

    # --- how a worker comes ------------------------------------------------------------------------------

    def request(self, generation: int, now: float) -> int | None:
        """Takes a slot for a worker that is to be spawned. None: every slot is in use."""
        if not self._free:
            return None
        index = self._free.pop()
        self._workers[index] = Worker(index, generation, now)
        return index

    def withdraw(self, index: int, *, failed: bool = False) -> None:
        """The requested worker does not come; its slot is free again. `failed`: it ended before it began."""
        assert self._workers[index].pid is None
        self.boot_failed += failed
        self._release(index)

    def register(self, index: int, pid: int, now: float) -> None:
        """The requested worker has come."""
        worker = self._workers[index]
        worker.pid = pid
        worker.since = now
        self.spawned += 1

    # --- what becomes of it ------------------------------------------------------------------------------

    def update(self, states: Sequence[int], now: float) -> list[Worker]:
        """Takes the states that the workers wrote on the scoreboard. Returns the workers that have booted."""
        booted = []
        for worker in self:
            worker.has_left = states[worker.index] in (State.EMPTY, State.DRAINING)
            if worker.end_signal:  # it is DRAINING, whatever it writes
                worker.starts &= states[worker.index] == State.STARTING
                continue
            worker.state = _next_state(worker, State(states[worker.index]))
            if worker.state is State.DRAINING:
                _start_draining(worker, now)
            if worker.state is not State.STARTING and not worker.booted:
                worker.ready_since = now
                booted.append(worker)
        return booted

    def outdate(self, index: int) -> bool:
        """The worker of a slot is to be replaced. False: that is known, it drains, or there is none."""
        worker = self._workers.get(index)
        if worker is None or worker.outdated or worker.state is State.DRAINING:
            return False
        worker.outdated = True
        return True

    def tell(self, index: int, signum: int, now: float) -> Worker:
        """A signal to end is sent to the worker, which is returned: it is DRAINING from now on."""
        worker = self._workers[index]
        worker.starts |= worker.state is State.STARTING
        worker.end_signal = signum
        _start_draining(worker, now)
        return worker

    def leave(self, index: int) -> None:
        """The worker is none any more, and its process lives on: its slot is free again."""
        self.died += 1
        self._release(index)

    def fail_boot(self, index: int, now: float) -> None:
        """The worker took too long to start, and is killed."""
        self.boot_failed += 1
        self.tell(index, signal.SIGKILL, now)

    def reap(self, index: int, state: int, status: int, now: float, *, stuck: bool = False) -> Exit:
        """The worker has ended: its slot is free again. Returns what its end means.

        `state` is the last one that it wrote; `status` its exit status, negative for a signal; `stuck` is
        whether its guard ended it.
        """
        end = _judge(self._workers[index], state, status, now, stuck=stuck)
        self.boot_failed += end is Exit.BOOT_FAILED
        self.died += 1
        self._release(index)
        return end

    def _release(self, index: int) -> None:
        del self._workers[index]
        self._free.append(index)

    # --- what is due -------------------------------------------------------------------------------------

    def overdue_boots(self, now: float, timeout_s: float) -> list[Worker]:
        """The workers that have not started within `timeout_s`.

        They count as spares. Without this, one that never starts would be missing and never replaced.
        """
        return [
            worker for worker in self if worker.state is State.STARTING and now > worker.since + timeout_s
        ]

    def overdue_drains(self, now: float, timeout_s: float, startup_s: float) -> list[Worker]:
        """The workers that drain longer than `timeout_s`, and are not killed yet. One whose startup goes on
        has `startup_s`.
        """
        return [worker for worker, due in self._drains(timeout_s, startup_s) if now >= due]

    def next_overdue_drain(self, timeout_s: float, startup_s: float) -> float:
        """When `overdue_drains` names another worker; infinity if none drains."""
        return min((due for _, due in self._drains(timeout_s, startup_s)), default=math.inf)

    def _drains(self, timeout_s: float, startup_s: float) -> Iterator[tuple[Worker, float]]:
        for worker in self:
            if worker.draining_since is not None and worker.end_signal != signal.SIGKILL:
                yield worker, worker.draining_since + (startup_s if worker.starts else timeout_s)


def _next_state(worker: Worker, written: State) -> State:
    """A worker starts, is spare or active, and drains. One that writes that it goes back does not: it would
    be replaced again and again.
    """
    # It holds its slot as long as it lives, so an EMPTY one is being left.
    if worker.state is State.DRAINING or written is State.EMPTY:
        return State.DRAINING
    return worker.state if worker.booted and written is State.STARTING else written


def _start_draining(worker: Worker, now: float) -> None:
    worker.state = State.DRAINING
    if worker.draining_since is None:
        worker.draining_since = now


def _judge(worker: Worker, state: int, status: int, now: float, *, stuck: bool) -> Exit:
    if stuck:
        return Exit.STUCK
    if worker.end_signal and status != BROKEN:
        return Exit.EXPECTED if status in (0, -worker.end_signal) else Exit.UNCLEAN
    is_early = worker.ready_since is None or now - worker.ready_since < EARLY_S
    if state == State.DRAINING and not status:
        return Exit.LEFT if is_early else Exit.EXPECTED
    # One that drains by itself and fails is judged as one that did not drain: its successor may do the same.
    if not worker.booted and state == State.STARTING:
        return Exit.BOOT_FAILED
    # What was killed was killed from outside: its successor need not fail.
    if is_early and status != -signal.SIGKILL:
        return Exit.EARLY
    return Exit.UNCLEAN if state == State.DRAINING and status != BROKEN else Exit.DIED
