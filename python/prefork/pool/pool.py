"""The manager's table of its workers, and what it does with each.

Owns: the scoreboard's memory, the glue, one `Child` for every worker, the eventfds that connect them. Always:
a worker is in the table from its fork until it is reaped; which slot it has and which pid is known here, and
never read from the scoreboard, which workers write. How many there should be is `policy.plan`'s to say.

It must know no request. All of it runs in the manager; a worker forgets it (`leave`).
"""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefork._engine import STUCK, TRACEBACKS, Scoreboard
from prefork.pool.policy import PolicyState, PoolLimits, Slot, State, boot_failed, booted, fork_failed, plan
from prefork.pool.scoreboard import ScoreboardSocket, format_states

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from prefork.config.options import PreForkOptions
    from prefork.kernel.kernel import Kernel

logger = logging.getLogger("prefork.pool")

SPARE_SLOTS = 64
"""Slots beyond `max_clients`, for workers that still drain while others take their place."""

INFANCY_S = 1.0
"""A worker that ends by itself so soon after its fork is replaced with a pause, as if it had not begun."""

KILL_AFTER_S = 2.0
"""How long after `graceful_timeout` a worker is killed: it cuts its own connections first."""


class Phase(enum.Enum):
    """What the pool is for. Workers are forked only while it is KEEPING them."""

    KEEPING = "as many workers as the policy wants"
    PAUSED = "none, for now: those there are finish and go"
    ENDING = "none any more"


@dataclass(slots=True)
class Child:
    """A worker as its manager knows it. `since` is when it was forked, in monotonic seconds."""

    index: int
    pid: int
    pidfd: int
    generation: int
    since: float
    booted: bool = False
    told: int = 0  # the signal by which we told it to end
    patience: TimerHandle | None = None

    def end(self, signum: int) -> None:
        """Tells it to end. By descriptor: a pid could be somebody else's by now."""
        self.told = signum
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
        self.manager = os.getpid()
        self._become_worker = become_worker
        self._changed = changed
        self._emptied = emptied
        capacity = 2 * options.max_clients + SPARE_SLOTS
        with contextlib.ExitStack() as undo:
            self.board = Scoreboard.create(capacity)
            undo.callback(self.board.close)
            # Readable while no spare is left and none can come: active workers then accept as well.
            self.gate = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self.gate)
            # The central queue. It is the manager's, so what is in it survives the workers.
            self.queue = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            for end in self.queue:
                undo.callback(end.close)
            self.socket = ScoreboardSocket(self.board, options.ipc_glue)
            undo.callback(self.socket.close)
            undo.pop_all()
        # For a worker whose Python is stuck: C writes them, without the GIL. Here: the memory is shared.
        faulthandler.register(TRACEBACKS, file=sys.__stderr__ or 2, all_threads=True)
        self._children: dict[int, Child] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._memory = PolicyState()
        self._phase = Phase.PAUSED
        self._due = 0  # forks that were asked for and not made yet
        self._gate_open = False
        self._starved = False
        self._wake: TimerHandle | None = None
        self._counts = {"forked": 0, "died": 0, "boot_failed": 0}
        limits = self._limits()
        self.board.publish(
            pid=self.manager,
            started_ns=time.monotonic_ns(),
            started_unix_s=int(time.time()),
            generation=self.generation,
            min_spare=limits.fewest,
            max_spare=limits.most,
            max_clients=limits.max_clients,
        )
        loop = kernel.loop
        loop.add_reader(self.board.wakeup_fileno(), self._woken)
        loop.add_reader(self.socket.fileno(), self.socket.respond)
        self._show_again = loop.call_soon(self._show) if options.debug_scoreboard else None

    @property
    def pids(self) -> list[int]:
        """The workers' pids, oldest first."""
        return [child.pid for child in sorted(self._children.values(), key=lambda child: child.since)]

    # --- growing and shrinking ---------------------------------------------------------------------------

    def start(self) -> None:
        """Forks the first workers, and keeps as many as the policy wants from now on."""
        self._phase = Phase.KEEPING
        self.board.publish(kept=True)
        self._spawn_soon(self.options.start_servers)

    def replace(self) -> None:
        """Has every worker replaced by a fresh fork, one after the other."""
        self.generation += 1
        self.board.publish(generation=self.generation)
        self._plan()

    def _woken(self) -> None:
        """A worker took one of the last spares, or has booted."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.board.wakeup_fileno())
        self._plan()

    def _plan(self) -> None:
        if self._phase is not Phase.KEEPING or self._due:
            return  # after the forks that are due it is asked again
        now = time.monotonic()
        slots = self._slots()
        self._end_hung_boots(slots, now)
        result = plan(slots, self._limits(), self._memory, now)
        self._memory = result.state
        self._publish(overcommit=result.overcommit, may_grow=result.may_grow)
        for index in result.retire:
            self.retire(self._children[index])
        if result.spawn:
            self._spawn_soon(result.spawn)
        wanted = math.inf if result.wake_at is None else result.wake_at
        self._look_again(min(wanted, now + self.options.check_spares_interval))

    def _end_hung_boots(self, slots: list[Slot], now: float) -> None:
        """A worker that boots counts as a spare, so one that never ends booting would be missed by nobody."""
        patience_s = self.options.boot_timeout
        for slot in slots:
            if slot.state is State.STARTING and now > slot.since + patience_s:
                child = self._children[slot.index]
                logger.error("worker %d is not ready after %g s: killing it", child.pid, patience_s)
                child.end(signal.SIGKILL)
                self._counts["boot_failed"] += 1
                self._memory = boot_failed(self._memory, now)

    def _look_again(self, when: float) -> None:
        self._look_no_more()
        self._wake = self.kernel.loop.call_at(when, self._plan)

    def _look_no_more(self) -> None:
        if self._wake is not None:
            self._wake.cancel()

    def _slots(self) -> list[Slot]:
        states = self.board.states()
        slots = []
        for child in self._children.values():
            # It holds its slot as long as it lives, whatever it writes there.
            state = State(states[child.index]) or State.DRAINING
            if child.told:
                state = State.DRAINING
            elif state is not State.STARTING and not child.booted:
                child.booted = True
                self._memory = booted(self._memory)
                self._changed("spare", child.pid)
            if state is State.DRAINING:
                self._give_time(child)  # one that leaves of its own accord may hang as well
            slots.append(Slot(child.index, state, child.generation, child.since))
        return slots

    def _limits(self) -> PoolLimits:
        options = self.options
        return PoolLimits(
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
        self._due = count
        self.kernel.between_turns(self._spawn)

    def _spawn(self) -> None:
        """At the top level of `run()`: makes the forks that are due. In a child it makes a worker of it.

        It looks at them when all are made: what is written between two forks is shared by no one.
        """
        forked, failure = [], None
        while self._due and self._free:
            self._due -= 1
            index = self._free.pop()
            self.board.claim(index, self.generation)
            try:
                # A terminal sends both to the whole group; the manager decides what they mean for workers.
                pid = self.kernel.fork(ignored=(signal.SIGINT, signal.SIGHUP))
            except OSError as error:
                self._give_back(index)
                failure = error
                break
            if pid == 0:
                self._become_worker(self, index)
                return
            forked.append((index, pid, time.monotonic()))
        for index, pid, since in forked:
            self._forked(index, pid, since)
        if failure is not None:
            self._fork_failed(failure)
        self._due = 0
        self._plan()

    def _forked(self, index: int, pid: int, since: float) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            # Nobody would hear of its end.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _status(pid)
            self._give_back(index)
            self._fork_failed(error)
            return
        if self._starved:
            self._starved = False
            logger.warning("workers are forked again")
        child = self._children[index] = Child(index, pid, pidfd, self.generation, since)
        self._counts["forked"] += 1
        self.kernel.loop.add_reader(pidfd, self._reap, child)
        self._changed("forked", pid)

    def _fork_failed(self, error: OSError) -> None:
        self._memory = fork_failed(self._memory, time.monotonic())
        if not self._starved:
            self._starved = True
            logger.error(
                "no worker can be forked: %s; going on with %d, trying again "
                "(limits: ulimit -u, cgroup, memory)",
                error.strerror,
                len(self._children),
            )

    def _reap(self, child: Child) -> None:
        """The kernel says that a worker ended."""
        state = self.board.states()[child.index]
        record = self.board.read(child.index)
        self._forget(child)
        status = _status(child.pid)
        if status == STUCK and record is not None and record["request_started"] is not None:
            age_s = time.monotonic() - record["request_started"]
            request = f"{record['method']} {record['path']}"
            logger.error("worker %d was stuck in %s for %.1f s: replaced", child.pid, request, age_s)
        elif not child.told and state != State.DRAINING:
            self._mourn(child, status, ready=child.booted or state != State.STARTING)
        elif status not in (0, -child.told):
            logger.error("worker %d ended: %s", child.pid, _ending(status))
        self._changed("died", child.pid)
        if self._phase is Phase.ENDING and not self._children:
            self._emptied()
        self._plan()

    def _mourn(self, child: Child, status: int, *, ready: bool) -> None:
        """A worker ended that was not meant to."""
        now = time.monotonic()
        if ready:
            logger.error("worker %d ended: %s", child.pid, _ending(status))
        else:
            self._counts["boot_failed"] += 1
            logger.error("worker %d ended before it was ready (%s); trying again", child.pid, _ending(status))
        # Whatever ended it so early may end the next one as early. What was killed was killed from outside.
        if not ready or (now - child.since < INFANCY_S and status != -signal.SIGKILL):
            self._memory = boot_failed(self._memory, now)

    def _forget(self, child: Child) -> None:
        self.kernel.loop.remove_reader(child.pidfd)
        os.close(child.pidfd)
        if child.patience is not None:
            child.patience.cancel()
        del self._children[child.index]
        self._give_back(child.index)
        self._counts["died"] += 1

    def _give_back(self, index: int) -> None:
        self.board.clear(index)
        self._free.append(index)

    # --- ending ------------------------------------------------------------------------------------------

    def retire(self, child: Child) -> None:
        """Lets a worker finish what it has and go. One that does not is killed after `graceful_timeout`."""
        if not child.told:
            child.end(signal.SIGTERM)
            self._give_time(child)

    def _give_time(self, child: Child) -> None:
        """A worker that leaves has so long, from when it began to."""
        if child.patience is None:
            patience_s = self.options.graceful_timeout + KILL_AFTER_S
            child.patience = self.kernel.loop.call_later(patience_s, self._lose_patience, child)

    def _lose_patience(self, child: Child) -> None:
        logger.warning("worker %d did not end in time: killing it", child.pid)
        child.end(signal.SIGKILL)

    def pause(self) -> None:
        """Lets every worker finish and go, and forks none until `start`."""
        self._rest(Phase.PAUSED)
        for child in self._children.values():
            self.retire(child)

    def stop(self, *, graceful: bool) -> None:
        """Ends every worker; `emptied` is called when the last one is gone. May be called again, harder."""
        self._rest(Phase.ENDING)
        self.board.publish(stopping=True)
        for child in self._children.values():
            if graceful:
                self.retire(child)
            else:
                child.end(signal.SIGKILL)
        if not self._children:
            self.kernel.loop.call_soon(self._emptied)

    def _rest(self, phase: Phase) -> None:
        self._phase = phase
        self.board.publish(kept=False)
        self._due = 0
        self._look_no_more()

    def kill(self) -> None:
        """Ends every worker here and now, and waits for it."""
        self._rest(Phase.ENDING)
        for child in list(self._children.values()):
            child.end(signal.SIGKILL)
            _status(child.pid)
            self._forget(child)

    def close(self) -> None:
        """Gives up glue and memory: both are gone with this process's descriptors."""
        loop = self.kernel.loop
        if self._show_again is not None:
            self._show_again.cancel()
        loop.remove_reader(self.board.wakeup_fileno())
        loop.remove_reader(self.socket.fileno())
        self.leave()

    def leave(self) -> None:
        """Worker: closes what is the manager's. A copy of the glue would hold it."""
        self.socket.close()
        self.board.close()
        os.close(self.gate)
        for end in self.queue:
            end.close()
        for child in self._children.values():
            os.close(child.pidfd)

    def _show(self) -> None:
        logger.warning("%s", format_states(self.board))
        self._show_again = self.kernel.loop.call_later(1.0, self._show)


def _status(pid: int) -> int:
    """The exit status of a child that ended, negative for a signal."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0  # the program ignores SIGCHLD or waits for every child: we hear of the end alone


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
