"""`Run`: the loop of one process, from the beginning of `run()` to its end, and forks between its turns.

Owns: the phase, the loop and in it the engine, what is to be done between turns, and what keeps `run()`
going. A subclass says what happens on the loop.

Always: a process forks only at the top level of `run()`, where no loop is running. It knows asyncio and the
engine's selector. It must know no session and no event.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection
from contextvars import copy_context
from typing import NoReturn

from prefork._engine import BlockedSignals, Engine
from prefork.errors import OutOfResources, PreforkError
from prefork.kernel import fork_hooks
from prefork.kernel.abandoned import end_abandoned, end_returned
from prefork.kernel.exits import is_of_task, report
from prefork.kernel.forking import end_process, exit_at_once, flush_output, fork_away, prepare_memory
from prefork.kernel.live_threads import warn_of_live_threads
from prefork.kernel.loop import EngineLoop, Loop
from prefork.kernel.patches import refuse_patches
from prefork.logs import queue_listeners
from prefork.logs.console import complain

logger = logging.getLogger("prefork.kernel")

BROKEN = 71
"""Exit status of a process whose descriptors are unusable: EX_OSERR of sysexits(3)."""

HEAR_S = 0.05
"""How long a process turns until it has heard of each signal that came while it was busy."""


class Phase(enum.Enum):
    """Where `run()` is. The kernel forks only BETWEEN_TURNS."""

    RESTING = "not running"
    BETWEEN_TURNS = "at its top level, no loop running"
    TURNING = "in the loop"
    STOPPING = "ending"
    ABANDONED = "in a child that the application forked, where it does not go on"


ENDED = (Phase.STOPPING, Phase.ABANDONED)
"""The phases in which no further turn is begun."""


class Run(ABC):
    """Its methods belong to the thread that runs it; from another one, use `loop.call_soon_threadsafe`."""

    keeps_signals = False
    """Whether the signals that it has handled have no effect after `run()`, because the process ends then.
    Otherwise they have their defaults again.
    """

    is_immortal = False
    """Whether reference counts are fixed before the first fork, see `immortal.py`."""

    def __init__(self) -> None:
        self.loop_factory: Callable[[Callable[[], bool]], Loop] = EngineLoop
        self._phase = Phase.RESTING
        self._loop: Loop | None = None
        self._between: deque[Callable[[], object]] = deque()
        self._on_start: list[Callable[[], object]] = []
        self._on_opened: list[Callable[[], object]] = []
        self._on_stop: list[Callable[[], object]] = []
        self._on_broken: list[Callable[[], object]] = []
        self._exit_status = 0
        self._on_abandon: list[Callable[[], object]] = []
        self._on_exit: list[Callable[[], object]] = []
        self._holds: dict[int, object] = {}
        self._exit_owners: list[Callable[[BaseException], bool]] = []
        self._context = copy_context()
        """The context variables that the loop began with: each event has a copy of its own."""
        self._is_child = False
        self._is_prepared = False
        self._spare_loop: EngineLoop | None = None
        """What the next forked child goes on with; None in a child."""
        self._discarded: list[object] = []

    # --- what a subclass does ----------------------------------------------------------------------------

    @abstractmethod
    def _attach(self, loop: Loop) -> None:
        """There is a loop: what waits for one goes on."""

    @abstractmethod
    def _begin(self) -> None:
        """The start hooks have run, and the first turn follows."""

    @abstractmethod
    def _end(self, loop: Loop) -> None:
        """The last turn is over: ends what runs on the loop, and then the sessions."""

    @abstractmethod
    def _finish(self, loop: Loop) -> None:
        """Ends what runs on the loop. The sessions go on."""

    @abstractmethod
    def _is_of_event(self, error: BaseException) -> bool:
        """Whether a task of an asynchronous event raised it."""

    @abstractmethod
    def _leave(self) -> tuple[object, ...]:
        """Forgets what belongs to one process and one run, and returns it."""

    @abstractmethod
    def _warm_up(self) -> None:
        """Runs what each forked child does first, on a loop of its own."""

    # --- this process's loop -----------------------------------------------------------------------------

    @property
    def loop(self) -> Loop:
        """This process's asyncio loop. Raises RuntimeError outside of `run()`."""
        if self._loop is None:
            raise RuntimeError("the kernel has a loop only inside of run()")
        return self._loop

    @property
    def engine(self) -> Engine:
        """This process's engine. Raises RuntimeError outside of `run()`."""
        return self.loop.engine

    @property
    def is_child(self) -> bool:
        """Whether this process was forked by the kernel."""
        return self._is_child

    # --- running -----------------------------------------------------------------------------------------

    def on_start(self, function: Callable[[], object]) -> None:
        """Calls `function` when `run()` begins, before the loop. A PreforkError that it raises ends `run()`.

        If the kernel runs already, `function` is called soon, between turns.
        """
        if self._phase is Phase.RESTING:
            self._on_start.append(function)
        else:
            self.between_turns(function)

    def on_opened(self, function: Callable[[], object]) -> None:
        """Calls `function` when every function of `on_start` has been called, in whatever order they came."""
        if self._phase is Phase.RESTING:
            self._on_opened.append(function)
        else:
            self.between_turns(function)

    def on_stop(self, function: Callable[[], object]) -> None:
        """Calls `function` when `run()` ends, last registered first, while the loop still exists."""
        self._on_stop.append(function)

    def on_broken(self, function: Callable[[], object]) -> None:
        """Calls `function` when a descriptor of the engine is unusable. It ends the work of this process.

        It is called once. `run()` then ends with the exit status BROKEN, unless each function returns False:
        the process was told to end before.
        """
        self._on_broken.append(function)

    def on_exit(self, function: Callable[[], object]) -> None:
        """Child: calls `function` when `run()` has ended and the loop is closed, before the process ends."""
        self._on_exit.append(function)

    def on_abandon(self, function: Callable[[], object]) -> None:
        """Calls `function` in each child that the application forks, to close what the parent serves with."""
        self._on_abandon.append(function)

    def hold(self, owner: object) -> None:
        """Keeps `run()` going for something the kernel cannot see, such as a listening server.

        If `owner` is a session, it keeps that session too.
        """
        self._holds[id(owner)] = owner

    def release(self, owner: object) -> None:
        """Ends the hold of `owner`, if it has one."""
        self._holds.pop(id(owner), None)

    def survive(self, owns: Callable[[BaseException], bool]) -> None:
        """Has `run()` go on after a SystemExit or KeyboardInterrupt for which `owns(error)` is true."""
        if owns not in self._exit_owners:
            self._exit_owners.append(owns)

    def stop(self) -> None:
        """Makes `run()` end after this turn. What is queued is still delivered; tasks are cancelled."""
        if self._phase is Phase.TURNING:
            self.loop.stop()
        if self._phase is not Phase.RESTING:
            self._phase = Phase.STOPPING
            self.loop.keep_signals()

    def between_turns(self, function: Callable[[], object]) -> None:
        """Runs `function` at the top level of `run()`, where no loop runs and `fork()` is legal.

        Functions run in the order of these calls, and soon: the loop stops after this turn and resumes
        afterwards. An exception of `function` ends `run()`.
        """
        self._between.append(function)
        if self._phase is Phase.TURNING:
            self.loop.stop()

    def run(self) -> None:
        """Delivers events until `stop()`, or until nothing can happen any more.

        That is: no event queued, no timer, task, watched descriptor or hold. A PreforkError of a start hook,
        such as a taken port, becomes one line on standard error and SystemExit(2). A session whose `_start`
        fails ends it with SystemExit(3), and the log has the error.

        In a child that was forked meanwhile it does not return: what follows in the program is the parent's.
        """
        if self._phase is not Phase.RESTING:
            raise RuntimeError("this kernel is running already")
        try:
            refuse_patches("the program")
            try:
                self._open()
            except OSError as error:
                raise OutOfResources.from_refusal(error) from None
            fork_hooks.hold(self, self._abandon)  # in children too
            for function in (*self._on_start, *self._on_opened):
                function()
            self._begin()
            self._turn()
            if self._exit_status:
                raise SystemExit(self._exit_status)
        except PreforkError as error:
            complain(str(error))
            raise SystemExit(error.exit_status) from error
        finally:
            self.end_if_abandoned(sys.exception())
            try:
                self._close()
            finally:
                if self._is_child:
                    self._exit()

    def _open(self) -> None:
        if self._is_child and self._spare_loop is not None:
            self._loop, self._spare_loop = self._spare_loop, None
            self._discarded.append(self._loop.reopen())
        else:
            self._loop = self.loop_factory(self._may_wait)
        self._exit_status = 0
        self._loop.when_broken(self._engine_broken)
        self._phase = Phase.BETWEEN_TURNS
        self._attach(self._loop)

    def _turn(self) -> None:
        """Alternates between the loop and what is to be done while no loop runs.

        A function of `between_turns` may fork. Then two processes return from it to here. The parent goes on
        with the next function and resumes its loop. The child has a new loop, and no function that waits
        (`_begin_child`): it goes on with its first turn.

        The loop turns before what a function has added is run: a manager that forks again and again must
        hear what else comes.
        """
        self._run_between()
        while self._phase not in ENDED:
            self._phase = Phase.TURNING
            if self._between:
                self.loop.stop()  # after one turn
            self._context = copy_context()
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                self.end_if_abandoned(error)
                if not self._survives(error):
                    raise
            if self._phase is Phase.TURNING:
                self._phase = Phase.BETWEEN_TURNS
            self._run_between()

    def _run_between(self) -> None:
        """Runs what waits now. In a child that is forked here, nothing waits any more."""
        for _ in range(len(self._between)):
            if self._between and self._phase not in ENDED:
                self._between.popleft()()

    def _survives(self, error: BaseException) -> bool:
        """Whether the run goes on although SystemExit or KeyboardInterrupt has left the loop.

        It ends with an event or a callback that raises it; not with a request, or a task that one has begun.
        """
        if any(owns(error) for owns in self._exit_owners):
            return True
        if self._is_of_event(error) or not is_of_task(error):
            return False
        report(error)
        return True

    def _may_wait(self) -> bool:
        """Whether a wait without end can end. asyncio starts one if it has no callback and no timer.

        A bound signal does not count: it might never come.
        """
        if self._holds or self._phase is not Phase.TURNING:
            return True
        if self.loop.is_watching() or asyncio.all_tasks(self.loop):
            return True
        self.stop()
        return False

    def _engine_broken(self, what: str, turns: bool) -> None:
        """The engine cannot go on. `turns`: its requests can still finish. Otherwise the process ends here:
        nothing that needs the loop can be closed.

        A process that was told to end may not have heard of it, if it was busy when its sockets were shut
        down.
        """
        if turns and self._on_broken:
            self.loop.call_later(HEAR_S, self._end_broken, what, True)
        else:
            self._end_broken(what, False)

    def _end_broken(self, what: str, finishes: bool) -> None:
        try:
            told = [function() for function in self._on_broken if finishes]  # each of them is called
            if told and all(one is False for one in told):
                return
        except OSError:
            finishes = False  # what it closes was closed as well
        self._exit_status = BROKEN
        logger.critical(
            "%s: the program closed a descriptor that is not its own, or shut down a socket that processes "
            "share; %s",
            what,
            "finishing the requests, then ending" if finishes else "ending",
        )
        if not finishes:
            exit_at_once(BROKEN)

    def _close(self) -> None:
        if (loop := self._loop) is None:
            return
        self._phase = Phase.STOPPING
        loop.keep_signals()
        try:
            for function in reversed(self._on_stop):
                try:
                    function()
                except Exception:
                    logger.exception("stop hook %r failed", function)
            self._end(loop)
            loop.finish_executor()
        finally:
            if self._is_child:
                fork_hooks.hold(self, self._abandon_rest)
            else:
                fork_hooks.release(self)
            self._leave()
            self._between.clear()
            loop.close()
            if not (self._is_child or self.keeps_signals):
                loop.give_signals_back()
            if self._spare_loop is not None:
                self._spare_loop.close()
            self._loop = self._spare_loop = None
            self._is_prepared = False
            self._phase = Phase.RESTING

    def _exit(self) -> NoReturn:
        """Child: ends, whatever the functions of `on_exit` raise."""
        try:
            for function in self._on_exit:
                function()
                self.end_if_abandoned()
        finally:
            end_process(sys.exception())

    # --- another loop ------------------------------------------------------------------------------------

    def end_loop(self) -> int:
        """Child, between turns: ends what runs on its loop, as the end of `run()` does, and closes it.

        The run goes on: `open_loop` has to follow. Signals have no effect meanwhile. Returns how many tasks
        did not end in time.
        """
        loop = self.loop
        loop.keep_signals()
        self._finish(loop)
        loop.finish_executor()
        self._leave()
        self._between.clear()
        loop.close()
        self._loop = None
        return len(loop.left)

    def open_loop(self) -> None:
        """After `end_loop`: goes on with another loop, in a process that forks or ends. Raises OSError."""
        self._loop = EngineLoop(self._may_wait)
        self._loop.when_broken(self._engine_broken)
        self._attach(self._loop)

    def discard_loop(self) -> None:
        """Between turns, in a process that only forks from now on: closes the descriptors of its loop, which
        no child has to close then.
        """
        self.loop.discard()

    # --- forking -----------------------------------------------------------------------------------------

    def fork(self, *, ignored: Collection[int] = (), is_tied: bool = False, reaper: int | None = None) -> int:
        """Forks this process; legal only in a function given to `between_turns`. Returns as os.fork does.

        The child keeps sessions, aliases and holds and gets an engine and a loop of its own. Queue, timers,
        tasks, signals and pending `between_turns` functions stay with the parent. In the child the signals
        `ignored` have no effect. With `is_tied` it dies with this process, and with `reaper` it is a child of
        that one (`fork_away`) and dies with it. Raises OSError, and RuntimeError anywhere else.
        """
        if self._phase is not Phase.BETWEEN_TURNS:
            raise RuntimeError(f"a kernel forks between turns only, and is {self._phase.value}")
        pid = None
        queue_listeners.rest()
        try:
            self._prepare_fork()
            with BlockedSignals():
                if reaper is None:
                    pid = fork_hooks.fork(tied_to=os.getpid() if is_tied else None)
                else:
                    pid = fork_away(reaper)
                if pid == 0:
                    self._begin_child(ignored)
        finally:
            if pid != 0:  # a worker starts no thread before its sandbox
                queue_listeners.resume()
        return pid

    def _prepare_fork(self) -> None:
        if not self._is_prepared:
            self._prepare_child()  # first: the next fork tries again what the system refuses
            self._is_prepared = True
            warn_of_live_threads()
            prepare_memory(self._warm_up, is_immortal=self.is_immortal)
        flush_output()

    def _prepare_child(self) -> None:
        """Makes what a child needs, in memory that children share. Made there, each would have its own."""
        if self.loop_factory is EngineLoop:  # uvloop has no loop that another process can use
            self._spare_loop = EngineLoop(self._may_wait)
            self._spare_loop.engine.close()

    def _begin_child(self, ignored: Collection[int]) -> None:
        """Child: discards what is its parent's, and opens a loop of its own.

        If it cannot, the process ends here. To the caller of `fork` an exception means a failed fork, and
        that caller would go on as the parent.
        """
        self._is_child = True
        self._is_prepared = False  # it may fork children of its own
        try:
            self._discard(ignored)
            self._open()
        except OSError as error:
            complain(f"a child failed to start: {OutOfResources.from_refusal(error)}")
            exit_at_once(1)
        except BaseException as error:
            end_process(error)

    def _discard(self, ignored: Collection[int]) -> None:
        """Child: takes what its parent has not finished out of reach. It is never freed (`Loop.discard`)."""
        self.loop.discard()
        self._discard_signals(ignored)
        self._discarded += (self._loop, self._between, *self._leave())
        self._between = deque()
        self._on_exit.clear()  # of a parent that was a worker itself

    @abstractmethod
    def _discard_signals(self, ignored: Collection[int]) -> None:
        """Child: restores the default of each signal that the parent handles. `ignored` have no effect."""

    # --- forks of the application ------------------------------------------------------------------------

    def _abandon(self, task: asyncio.Task[object] | None) -> None:
        """In a child that the application forked, `task` if one did: lets go of what its parent serves with.

        The application's code goes on. When it returns to the kernel or its loop, the process ends.
        """
        self._phase = Phase.ABANDONED
        self._abandon_events()
        self.loop.abandon(lambda *results: end_returned(task, results))
        if self._spare_loop is not None:
            self._spare_loop.discard()
        for function in self._on_abandon:
            function()

    def _abandon_rest(self, _task: asyncio.Task[object] | None) -> None:
        """As `_abandon`, in such a child of a process whose loop is closed."""
        self._phase = Phase.ABANDONED

    @abstractmethod
    def _abandon_events(self) -> None:
        """In such a child: none of the parent's events is delivered."""

    def end_if_abandoned(self, error: BaseException | None = None) -> None:
        """In a child that the application forked, whose code has returned or raised `error`: ends the process
        with its status. In any other nothing happens.
        """
        if self._phase is Phase.ABANDONED:
            end_abandoned(error)
