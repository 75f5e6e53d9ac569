"""Keeps as many workers as the policy wants (manager).

Owns: the table of workers (`workers.py`), their processes, the state of the policy, and the one timer that
makes it act again. It decides nothing: `policy.plan` returns how many workers there should be, the table what
the end of one means, and `watch.py` which one takes too long. It carries out, logs, and keeps what was
decided.

It must know no server and no request.
"""

from __future__ import annotations

import enum
import errno
import logging
import math
import signal
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from prefork._engine import STUCK
from prefork.kernel.run import BROKEN
from prefork.pool import policy, policy_state
from prefork.pool.canary import Canary, Reading, readings
from prefork.pool.decisions import Decisions
from prefork.pool.generations import Generations, Spawn, Tried
from prefork.pool.overview import Overview
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import EARLY_S, PolicyState
from prefork.pool.spawner import NotBegun, Process, Spawner
from prefork.pool.watch import Watch, requests_of
from prefork.pool.worker_signals import catches
from prefork.pool.workers import Exit, Worker, Workers

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.resources import PoolResources

logger = logging.getLogger("prefork.pool")

TOLD_AGAIN_S = 0.5
"""When a worker that was told to end while it started is told once more."""

REPLACED_S = 0.02
"""How often it is looked whether the last worker of a former generation has heard that it ends."""


class Phase(enum.Enum):
    """How many workers there should be. Workers are spawned only while it is KEEPING them."""

    KEEPING = "as many as the policy wants"
    PAUSED = "none while the server does not listen, until `prefork resume`"
    HOPELESS = "none any more: no worker was ever ready"
    ENDING = "none any more: they finish, or are killed"
    ENDED = "none, and there is none"


class Supervisor:
    """`tell(what, pid)` is called for every worker: 'forked', 'spare' for the first time, and 'died'.

    `emptied()` is called when a pool that ends has no worker left, `gave_up(why)` when no worker was
    ever ready and `boot_failures` attempts have failed. `died(pid, status)` is called for every worker
    that has ended, also where the pool is killed.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        options: PreForkOptions,
        resources: PoolResources,
        spawner: Spawner,
        tell: Callable[[str, int], object],
        emptied: Callable[[], object],
        gave_up: Callable[[str], object],
        died: Callable[[int, int], object],
    ) -> None:
        self._loop = loop
        self._options = options
        self._resources = resources
        self._board = resources.board
        self._spawner = spawner
        self._tell = tell
        self._emptied = emptied
        self._gave_up = gave_up
        self._died = died
        self._workers = Workers(self._board.capacity)
        self._processes: dict[int, Process] = {}
        self._instead: dict[int, Callable[[Process], object]] = {}
        """What is called when a worker is to end, instead of a signal, by slot."""
        self._state = PolicyState()
        self._generations = Generations()
        self._phase = Phase.PAUSED
        self._cannot_spawn = False
        self._keeps_few_spares = False
        self._decisions = Decisions(loop.time)
        self._watch = Watch(
            loop,
            options,
            self._board,
            self._workers,
            spawner.hint,
            self._kill,
            self._kill_boot,
            self.act,
        )
        self._first_failure = ""
        self._timer: TimerHandle | None = None

    @property
    def generation(self) -> int:
        """Of new workers."""
        return self._generations.current

    @property
    def pids(self) -> list[int]:
        """The pids of the workers, oldest first."""
        return self._workers.pids

    @property
    def may_spawn(self) -> bool:
        """Whether it may have workers spawned again, now or later."""
        return self._phase in (Phase.KEEPING, Phase.PAUSED)

    def overview(self) -> Overview:
        """What the pool has now, and what it wants."""
        if self._phase is not Phase.ENDED:
            self._take_states()
        return Overview(
            phase=self._phase.value,
            keeps=self._phase is Phase.KEEPING,
            slots=self._workers.slots(),
            pids=self._workers.pids_by_slot,
            forking=self._workers.waiting,
            limits=self._limits(),
            state=self._state,
            now=self._loop.time(),
        )

    @property
    def workers(self) -> list[Worker]:
        """Those that exist."""
        return list(self._workers)

    @property
    def ending(self) -> list[int]:
        """The pids of the workers that were told to end."""
        return [worker.pid for worker in self._workers if worker.end_signal and worker.pid is not None]

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What was decided of late, and why, the newest last."""
        return self._decisions.describe()

    # --- keeping the pool --------------------------------------------------------------------------------

    def start(self) -> None:
        """Spawns the first workers, and keeps as many as the policy wants from now on."""
        self._phase = Phase.KEEPING
        self._board.publish(
            kept=True, generation=self.generation, hides_paths=self._options.status_paths == "off"
        )
        self._publish_limits()
        count = self._spawn(self._options.start_servers, self.generation)
        self._decisions.note(count, f"the pool begins: start_servers {self._options.start_servers}")
        self._watch.begin()
        self.act()

    def _publish_limits(self) -> None:
        limits = self._limits()
        self._board.publish(min_spare=limits.fewest, max_spare=limits.most, max_clients=limits.max_clients)

    def change(self, options: PreForkOptions) -> None:
        """Keeps the pool by these options from now on."""
        former, self._options = self._limits(), options
        self._watch.options = options
        self._publish_limits()
        if (limits := self._limits()) != former:
            self._decisions.note(
                0,
                f"new limits: {limits.fewest} to {limits.most} spares, max_clients {limits.max_clients}",
            )
        self.act()

    def replace(self) -> None:
        """Replaces every worker by a fresh one, one after the other."""
        self._generations.current += 1
        self._board.publish(generation=self.generation)
        self._decisions.note(0, f"generation {self.generation} replaces every worker")
        self.act()

    def restart(self, withdrawn: Collection[int]) -> None:
        """Has every worker finish, and spawns the first ones of another generation. What was asked of the
        spawner before has come to nothing, for the `withdrawn` slots.
        """
        for index in withdrawn:
            self._withdraw(index)
        self._generations.current += 1
        self._state = PolicyState()  # failures of the former generation say nothing about this one
        told = [worker.index for worker in self._workers if not worker.end_signal]
        for index in told:
            self._end(index, signal.SIGTERM)
        self._decisions.note(-len(told) - len(withdrawn), f"generation {self.generation} begins anew")
        self.start()

    def recycle(self, indexes: Iterable[int]) -> list[int]:
        """Replaces these workers, as `replace` does all: each serves on until another is ready.

        Returns those for which this is news.
        """
        outdated = [index for index in indexes if self._workers.outdate(index)]
        if outdated:
            self.act()
        return outdated

    def end_by(self, index: int, end: Callable[[Process], object]) -> Process | None:
        """Replaces a worker. `end(process)` is called when it is to end, and has to see to that. None: it
        ends or is replaced already, or there is none.
        """
        if index not in self._processes or not self._workers.outdate(index):
            return None
        self._instead[index] = end
        self._loop.call_soon(self.act)
        return self._processes[index]

    def let_go(self, index: int, process: Process) -> bool:
        """The process is a worker no more, and belongs to the caller. False: it has ended."""
        if self._processes.get(index) is not process:
            return False
        del self._processes[index]
        self._loop.remove_reader(process.pidfd)
        if not self._workers.end_signal_of(index):
            self._decisions.note(-1, f"worker {process.pid} becomes the mold")
        self._workers.leave(index)
        self._clear(index)
        self._died(process.pid, 0)
        self._tell("died", process.pid)
        self._loop.call_soon(self.act)
        return True

    def send(self, signum: int, pids: Collection[int] | None = None) -> list[int]:
        """Sends a signal to these workers, or to all. Returns those that do not handle it, and would end."""
        deaf = []
        for process in self._processes.values():
            if pids is not None and process.pid not in pids:
                continue
            if catches(process.pid, signum):
                process.signal(signum)
            else:
                deaf.append(process.pid)
        return deaf

    def keep_few_spares(self, yes: bool) -> None:
        """Keeps no more spares than there must be, because memory is short."""
        if yes != self._keeps_few_spares:
            self._keeps_few_spares = yes
            few = f"memory is short: no more than {self._limits().most} spares"
            self._decisions.note(0, few if yes else "memory is not short any more")
            self.act()

    # --- another generation ------------------------------------------------------------------------------

    def try_next(self, spawn: Spawn, done: Callable[[str], object]) -> None:
        """Spawns one worker of the next generation. `done` is called with why it failed, or with ""."""
        now, others = self._loop.time(), len(self._workers.slots())
        index = self._workers.request(self.generation + 1, now)
        if index is None:
            self._loop.call_soon(done, "every slot of the scoreboard is in use")
            return
        self._generations.tried = Tried(index, now, others, done)
        self._decisions.note(1, f"generation {self.generation + 1} is tried")
        self._board.claim(index, self.generation + 1)
        spawn(index, self._spawned)

    def adopt_next(self, replaced: Callable[[], object]) -> None:
        """The next generation is the one of new workers, and replaces the others.

        `replaced()` is called when no other takes a request any more.
        """
        self._generations.replaced = replaced
        self._board.publish(takes_turns=False)
        if not self._generations.end_canary():
            self._advanced(self._generations.advance())
        self._decisions.note(0, f"generation {self.generation} replaces the others")
        self.act()

    def begin_canary(self, share: float, spawn: Spawn, canary: Canary) -> None:
        """A share of the workers are of the next generation, until `adopt_next` or `drop_next`. The canary
        hears of those that fail.

        Workers accept in turn meanwhile: clients that come one after the other reach both generations.
        """
        self._board.publish(takes_turns=True)
        self._advanced(self._generations.begin_canary(share, spawn, canary))
        self._decisions.note(0, f"a canary begins: {share:.0%} of generation {self.generation}")
        self.act()

    def readings(self) -> list[Reading]:
        """What each worker has done, for the canary."""
        return readings(self._board, self._workers.slots())

    def _advanced(self, tried: Tried | None) -> None:
        """Another generation is the current one. Its first worker is one of many from now on."""
        if tried is not None:
            self._state = policy.begin_replacement(self._state, tried.since, tried.others)
        self._board.publish(generation=self.generation)

    def drop_next(self, withdrawn: Collection[int]) -> None:
        """There is no next generation. The requests for `withdrawn` slots have come to nothing."""
        given_up = f"generation {self.generation + (self._generations.trial is None)} is given up"
        tried = self._generations.drop_next()
        for index in withdrawn:
            self._withdraw(index)
        if tried is not None and tried.index in self._processes:
            self._end(tried.index, signal.SIGTERM)
            self._decisions.note(-1, given_up)
        else:
            self._decisions.note(-len(withdrawn), given_up)
        self._board.publish(generation=self.generation, takes_turns=False)
        self.act()

    def _end_tried(self, index: int, failure: str) -> bool:
        """Whether the worker was one of the next generation, which is tried. That is told then."""
        tried = self._generations.tried
        if tried is None or tried.index != index:
            return False
        self._loop.call_soon(self._tell_tried, tried, failure)
        return True

    def _tell_tried(self, tried: Tried, failure: str) -> None:
        if self._generations.tried is tried:
            tried.done(failure)

    def try_again(self) -> None:
        """What prevented workers from being spawned is over."""
        self._state = policy_state.may_spawn(self._state)
        self.act()

    def act(self) -> None:
        """Does what is due. Called when a worker has taken a spare, booted or ended, and by the timer."""
        if self._phase is Phase.ENDED:
            return
        if self._phase is Phase.ENDING and self._workers.is_empty:
            self._phase = Phase.ENDED
            self._stop_timers()
            self._emptied()
            return
        self._take_states()
        self._watch.kill_overdue()
        if self._phase is Phase.KEEPING and self._is_hopeless():
            self._phase = Phase.HOPELESS
            self._watch.end()
            self._gave_up(self._first_failure)
        if self._phase is Phase.KEEPING and not self._workers.is_waiting:
            self._follow_plan()
        else:  # the next plan has to see what came of the last one, so it waits for all results
            self._act_at(math.inf)
        replaced = self._generations.replaced
        if replaced is not None and not self._workers.older_than(self.generation):
            self._generations.replaced = None
            replaced()

    def _take_states(self) -> None:
        states = bytearray(self._board.states())
        for index in self._watch.stuck():
            states[index] = State.ACTIVE  # it takes no request, whatever it wrote
        for worker in self._workers.update(states, self._loop.time()):
            assert worker.pid is not None
            self._state = policy_state.booted(self._state, self._loop.time())
            self._tell("spare", worker.pid)
            self._end_tried(worker.index, "")
        for index in self._board.asking_for_successors():
            self._workers.outdate(index)

    def _slots(self) -> list[Slot]:
        """What the policy plans with. A worker that is tried is none yet."""
        return [slot for slot in self._workers.slots() if not self._generations.is_tried(slot.index)]

    def _follow_plan(self) -> None:
        now = self._loop.time()
        plan = policy.plan(self._slots(), self._limits(), self._state, now)
        self._go_on_with(plan.state)
        self._decisions.follow(plan.decisions, plan.held)
        self._publish(overcommit=plan.overcommit, may_grow=plan.may_grow)
        for index in plan.retire:
            self._retire(index)
        if plan.spawn:
            self._spawn(plan.spawn, plan.generation)
        wanted = math.inf if plan.wake_at is None else plan.wake_at
        replaces = self._generations.replaced is not None
        interval_s = REPLACED_S if replaces else self._options.check_spares_interval
        self._act_at(min(wanted, now + interval_s))

    def _go_on_with(self, state: PolicyState) -> None:
        """That is the state from now on. Tells when workers that die early are held back, and when not."""
        was_braked = policy_state.is_braked(self._state)
        self._state = state
        if policy_state.is_braked(state) and not was_braked:
            logger.error(
                "the last %d workers ended as soon as they were ready: going on with %d, and trying one at a "
                "time, with pauses, until one lives for %g s",
                state.crashes,
                len(self.pids),
                EARLY_S,
            )
        elif was_braked and not policy_state.is_braked(state):
            logger.warning("a worker lives again: workers are spawned without pauses")

    def _act_at(self, when: float) -> None:
        """Acts at `when` at the latest, and earlier if a worker drains for too long."""
        if self._timer is not None:
            self._timer.cancel()
        when = min(when, self._watch.next_overdue_drain)
        self._timer = self._loop.call_at(when, self.act) if when < math.inf else None

    def _limits(self) -> PoolLimits:
        options = self._options
        return PoolLimits(
            min_spare=options.min_spare_servers,
            max_spare=options.min_spare_servers if self._keeps_few_spares else options.max_spare_servers,
            max_clients=options.max_clients,
            check_interval=options.check_spares_interval,
            generation=self.generation,
            capacity=self._board.capacity,
            rollout=options.rollout,
            trial=self._generations.trial,
            memory_is_short=self._keeps_few_spares,
        )

    def _publish(self, *, overcommit: bool, may_grow: bool) -> None:
        workers = self._workers
        self._board.publish(
            overcommit=overcommit,
            may_grow=may_grow,
            forked=workers.spawned,
            died=workers.died,
            boot_failed=workers.boot_failed,
        )
        self._resources.overcommit(overcommit)

    # --- spawning ----------------------------------------------------------------------------------------

    def _spawn(self, count: int, generation: int) -> int:
        """Requests so many workers. Returns for how many there were slots."""
        for done in range(count):
            index = self._workers.request(generation, self._loop.time())
            if index is None:
                return done
            self._board.claim(index, generation)
            spawn = self._generations.spawn(generation) or self._spawner.spawn
            spawn(index, self._spawned)
        return count

    def _spawned(self, index: int, result: Process | OSError) -> None:
        if isinstance(result, OSError):
            generation, has_begun = self._workers.generation_of(index), not isinstance(result, NotBegun)
            self._withdraw(index, failed=not has_begun)
            why = result.strerror or str(result)
            self._decisions.note(-1, f"not spawned: {why}")
            if not self._end_tried(index, why):
                if has_begun:
                    self._state = policy_state.fork_failed(self._state, self._loop.time())
                else:
                    self._count_failed_boot(generation, why, self._loop.time())
                self._tell_not_spawned(result, why)
        else:
            self._register(index, result)
        if not self._workers.is_waiting:
            self.act()

    def _register(self, index: int, process: Process) -> None:
        if self._cannot_spawn:
            self._cannot_spawn = False
            logger.warning("workers are spawned again")
        self._workers.register(index, process.pid, self._loop.time())
        self._processes[index] = process
        self._loop.add_reader(process.pidfd, self._reap_soon, index)
        self._tell("forked", process.pid)
        is_ahead = self._workers.generation_of(index) > self.generation
        if self._phase is not Phase.KEEPING or (is_ahead and not self._generations.is_tried(index)):
            # It was requested before the pool paused or ended, or a generation was given up.
            self._end(index, signal.SIGTERM)
            self._decisions.note(-1, "it comes too late")

    def _withdraw(self, index: int, *, failed: bool = False) -> None:
        self._workers.withdraw(index, failed=failed)
        self._board.clear(index)

    def _tell_not_spawned(self, error: OSError, why: str) -> None:
        if not self._cannot_spawn:
            self._cannot_spawn = True
            logger.error(
                "cannot spawn a worker: %s; going on with %d and trying again%s",
                why,
                len(self.pids),
                "" if error.errno == errno.ECHILD else " (limits: ulimit -u, cgroup, memory)",
            )

    # --- reaping -----------------------------------------------------------------------------------------

    def _reap_soon(self, index: int) -> None:
        """The pidfd of a worker is readable: the process has ended.

        A signal that has come to this process as well, as to a whole service, is handled before.
        """
        process = self._processes[index]
        self._loop.remove_reader(process.pidfd)
        self._loop.call_later(0, self._reap, index, process)

    def _reap(self, index: int, process: Process) -> None:
        if self._processes.get(index) is not process:
            return  # `kill` has waited for it
        now = self._loop.time()
        pid = process.pid
        state = self._board.states()[index]
        requests = requests_of(self._board.read(index), now, only="in")
        found = self._forget(index)
        status = found or 0
        stuck = status == STUCK and (requests is not None or self._options.heartbeat_timeout > 0)
        generation, start_s = self._workers.generation_of(index), self._workers.start_s(index, now)
        if not self._workers.end_signal_of(index):
            self._decisions.note(-1, f"worker {pid} ended: {'it was stuck' if stuck else _ending(found)}")
        end = self._workers.reap(index, state, status, now, stuck=stuck)
        if end is Exit.STUCK:
            logger.error("worker %d was stuck %s: replaced", pid, requests or "without a request")
        elif end is Exit.BOOT_FAILED:
            if self._boot_failed(index, generation, f"worker {pid}: {_ending(found)}", now):
                again = self._phase is Phase.KEEPING and not self._is_hopeless()
                then = "; trying again" if again else ""
                logger.error("worker %d ended before it was ready (%s)%s", pid, _ending(found), then)
        elif end is not Exit.EXPECTED:
            what = f"worker {pid} ended: {_ending(found)}"
            is_told = self._end_tried(index, what) or end is Exit.LEFT  # by the reload, or as it drains
            if not is_told:
                logger.error("%s", what)
        if end in (Exit.STUCK, Exit.EARLY, Exit.DIED):
            self._generations.crashed(generation)
        if end in (Exit.EARLY, Exit.LEFT):
            was_ready = end is Exit.EARLY
            self._go_on_with(policy_state.died_early(self._state, now, start_s, was_ready=was_ready))
        self._tell("died", pid)
        self.act()

    def _boot_failed(self, index: int, generation: int, what: str, now: float) -> bool:
        """`what` is told if the worker has not told it itself. False: it was of a reload, which tells."""
        reports = self._resources.reports.read()
        why = reports[0] if reports else what
        if self._end_tried(index, why):
            return False
        self._count_failed_boot(generation, why, now)
        return True

    def _count_failed_boot(self, generation: int, why: str, now: float) -> None:
        self._generations.boot_failed(generation, why)
        self._state = policy_state.boot_failed(self._state, now)
        self._first_failure = self._first_failure or why

    def _is_hopeless(self) -> bool:
        return policy.is_hopeless(self._workers.slots(), self._state, self._options.boot_failures)

    def _forget(self, index: int) -> int | None:
        """Waits for a process, and closes what belongs to it. Returns its exit status, None if it is lost."""
        process = self._processes.pop(index)
        self._loop.remove_reader(process.pidfd)
        status = process.wait()
        process.close()
        self._clear(index)
        self._died(process.pid, status or 0)
        return status

    def _clear(self, index: int) -> None:
        self._instead.pop(index, None)
        self._watch.forget(index)
        self._board.clear(index)

    # --- ending ------------------------------------------------------------------------------------------

    def _stop_timers(self) -> None:
        self._watch.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _kill(self, index: int, why: str) -> None:
        if not self._workers.end_signal_of(index):
            self._decisions.note(-1, f"worker {self._processes[index].pid} is killed: {why}")
        self._end(index, signal.SIGKILL)

    def _kill_boot(self, worker: Worker, what: str) -> None:
        """The worker did not start in time."""
        now = self._loop.time()
        self._decisions.note(-1, what)
        self._workers.fail_boot(worker.index, now)
        self._processes[worker.index].signal(signal.SIGKILL)
        self._boot_failed(worker.index, worker.generation, what, now)

    def _end(self, index: int, signum: int) -> None:
        """Tells a worker to end: to finish what it has, by SIGTERM, or at once, by SIGKILL."""
        worker, process = self._workers.tell(index, signum, self._loop.time()), self._processes[index]
        process.signal(signum)
        if worker.starts and signum == signal.SIGTERM:
            # Python runs no handler of a signal that comes just as code enters a system call, which a startup
            # may not leave for long. A worker that has heard the first one is not disturbed by another.
            self._loop.call_later(TOLD_AGAIN_S, self._signal_again, index, process)

    def _signal_again(self, index: int, process: Process) -> None:
        if self._processes.get(index) is process:
            process.signal(signal.SIGTERM)

    def _retire(self, index: int) -> None:
        """The policy has a worker end."""
        end = self._instead.pop(index, None)
        if end is None:
            self._end(index, signal.SIGTERM)
        else:
            self._workers.tell(index, signal.SIGTERM, self._loop.time())
            end(self._processes[index])

    def _end_all(self, phase: Phase, signum: int, why: str, *, kept: bool = False) -> None:
        self._phase = phase
        self._watch.end()
        self._board.publish(kept=kept)
        withdrawn = list(self._spawner.cancel() if phase is Phase.PAUSED else self._spawner.end())
        for index in withdrawn:
            self._withdraw(index)
        told = sum(not worker.end_signal for worker in self._workers)
        self._decisions.note(-told - len(withdrawn), why)
        for worker in list(self._workers):
            if not worker.end_signal or signum == signal.SIGKILL:
                self._end(worker.index, signum)
        self._act_at(math.inf)

    def pause(self) -> None:
        """Lets every worker finish and end, and spawns none until `start`."""
        self._end_all(Phase.PAUSED, signal.SIGTERM, "the server stops listening")

    def stop(self, *, graceful: bool) -> None:
        """Ends every worker; `emptied` is called when the last one has ended. May be called again, harder."""
        self._board.publish(stopping=True)
        self._end_all(Phase.ENDING, signal.SIGTERM if graceful else signal.SIGKILL, "the server stops")
        self._loop.call_soon(self.act)

    def leave(self, *, moves: bool) -> None:
        """Ends as `stop` does, because another pool serves: `moves` is whether that adopts connections."""
        self._board.publish(succeeded=moves)
        self._end_all(Phase.ENDING, signal.SIGTERM, "another manager serves", kept=moves)
        self._loop.call_soon(self.act)

    def kill(self) -> None:
        """Ends every worker and waits for it."""
        self._end_all(Phase.ENDING, signal.SIGKILL, "the server ends")
        for index in list(self._processes):
            self._forget(index)
        self._phase = Phase.ENDED
        self._stop_timers()

    def discard(self) -> None:
        """Closes the descriptors of this process, in a child that was forked with a copy of them (worker)."""
        for process in self._processes.values():
            process.close()


def _ending(status: int | None) -> str:
    if status is None:
        return "its exit status is lost, because the program ignores SIGCHLD or waits for every child"
    if status == BROKEN:
        return f"exit status {status}: a descriptor that it needs was closed or shut down"
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
