"""The kernel delivers events to sessions, and owns the loop they run on. A session has named events.

Both are here, because each names the other: a session has its kernel, and a kernel its sessions.

It owns this process's loop and, in it, the engine. Its parts are in files of their own: the registry of
sessions, the queue of posted events, the timers, the tasks of asynchronous events, and the signals. Sessions,
aliases and holds survive a fork; the other parts belong to the process and the run that made them.

Always: an exception in an event is logged with session, event and arguments, and the kernel goes on. A
process forks only at the top level of `run()`, where no loop is running.

It knows asyncio and the engine's selector. It must know no HTTP and no pool.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

from prefork._engine import BlockedSignals, Engine
from prefork.errors import OptionError, OutOfResources, PreforkError, UnknownSession
from prefork.kernel.event_queue import EventQueue
from prefork.kernel.events import Handler, Recipient
from prefork.kernel.forking import end_process, exit_child, flush_output, prepare_memory
from prefork.kernel.loop import EngineLoop, Loop
from prefork.kernel.registry import Registry
from prefork.kernel.signals import Signals
from prefork.kernel.tasks import Tasks, report
from prefork.kernel.timers import Timer, Timers

logger = logging.getLogger("prefork.kernel")

S = TypeVar("S", bound="Session")
T = TypeVar("T")


class Phase(enum.Enum):
    """Where `run()` is. A process may fork only BETWEEN_TURNS."""

    RESTING = "not running"
    BETWEEN_TURNS = "at its top level, no loop running"
    TURNING = "in the loop"
    STOPPING = "ending"


class Session(Recipient):
    """A named holder of events. Subclass it and mark methods with `@event`.

    `alias`, on the class or on the object, is the name others post to; `Kernel.add` registers it. `kernel` is
    None until then, and again after `Kernel.remove`. An overridden method needs no second `@event`.

    The kernel calls two events: `_start` when it runs (at once for a session added while it runs) and `_stop`
    when it ends or the session is removed. A forked child inherits what `_start` made, if it was synchronous,
    and has a `_stop` of its own.
    """

    kernel: Kernel = None  # type: ignore[assignment]  # users write self.kernel.post, not assert ... is not None

    def post(self, event: str, *args: Any) -> bool:
        """Queues an event to oneself (POE's `yield`). False if the session has no such event."""
        return self.kernel._queue.put(self, event, args)

    def delay(self, event: str, seconds: float | None = None, *args: Any) -> Timer | None:
        """Calls `event` of this session once, in `seconds`; there is one such timer for each event name.

        It replaces the one that was set; without `seconds` it only cancels that. Raises UnknownEvent.
        """
        if self.kernel is None and seconds is None:
            return None  # outside of a kernel it has no timers
        return self.kernel._timers.delay(self, event, seconds, args)

    def alias_set(self, name: str) -> None:
        """Makes `name` one more alias of this session. Raises OptionError if another session has it."""
        self.kernel._registry.name(self, name)

    def alias_remove(self, name: str) -> None:
        """Gives up one alias of this session. Raises UnknownSession if it is not this session's."""
        self.kernel._registry.unname(self, name)


class Kernel:
    """Queues and delivers the events of one process's sessions.

    Its methods belong to the thread that runs it; from another one, use `kernel.loop.call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self.loop_factory: Callable[[Callable[[], bool]], Loop] = EngineLoop
        self._registry: Registry[Session] = Registry()
        self._holds: dict[int, object] = {}
        self._on_start: list[Callable[[], object]] = []
        self._on_stop: list[Callable[[], object]] = []
        self._phase = Phase.RESTING
        self._loop: Loop | None = None
        self._is_prepared = False
        self._is_child = False
        self._discarded: list[object] = []
        self._make_parts()

    def _make_parts(self) -> None:
        """The parts that belong to one process and one run, empty."""
        self._queue = EventQueue(self._deliver)
        self._timers = Timers(self._deliver)
        self._tasks = Tasks()
        self._signals = Signals(self._deliver, self.stop)
        self._between: deque[Callable[[], object]] = deque()

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

    # --- sessions ----------------------------------------------------------------------------------------

    def add(self, session: S) -> S:
        """Takes in a session under its alias. Raises OptionError if the alias is taken."""
        if session.kernel is not None:
            raise OptionError(f"session {session} is in a kernel already; remove it there first")
        self._registry.add(session)
        session.kernel = self
        if self._phase is not Phase.RESTING:
            self._start(session)
        return session

    def session(self, alias: str, handlers: Mapping[str, Handler]) -> Session:
        """Makes and adds a session of plain functions (POE's `inline_states`): event name -> function."""
        session = Session()
        session.alias = alias
        session._handlers.update(handlers)
        return self.add(session)

    def remove(self, session: Session) -> None:
        """Removes a session: `_stop`, then its aliases, timers, signals and queued events are gone.

        Tasks of its asynchronous events run on. Raises UnknownSession if it is not in this kernel.
        """
        if session.kernel is not self:
            raise UnknownSession(f"session {session} is not in this kernel")
        self._stop(session)
        session.kernel = None  # type: ignore[assignment]
        self._registry.remove(session)
        self._timers.cancel(session)
        self._signals.drop(session)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions, in the order they were added."""
        return tuple(self._registry.sessions)

    def find(self, alias: str) -> Session | None:
        """The session that has this alias, or None."""
        return self._registry.aliases.get(alias)

    def resolve(self, alias: str, event: str) -> tuple[Session, Handler]:
        """The session of that alias, and what runs on that event. Raises UnknownSession and UnknownEvent."""
        return self._registry.resolve(alias, event)

    def _start(self, session: Session) -> None:
        if self._registry.start(session):
            self._deliver(session, "_start", ())

    def _stop(self, session: Session) -> None:
        if self._registry.stop(session):
            self._deliver(session, "_stop", ())

    # --- events ------------------------------------------------------------------------------------------

    def post(self, alias: str, event: str, *args: Any) -> bool:
        """Queues an event, in order of posting. False if no session has that alias, or it no such event."""
        session = self._registry.aliases.get(alias)
        return session is not None and self._queue.put(session, event, args)

    def call(self, alias: str, event: str, *args: Any) -> Any:
        """Runs an event now and returns its value; that of an asynchronous event is its task.

        Raises UnknownSession, UnknownEvent and what the event raises; the caller handles it, so no log here.
        """
        _, function = self._registry.resolve(alias, event)
        result = function(*args)
        if result is None or not asyncio.iscoroutine(result):
            return result
        task = self.loop.create_task(result)
        self._tasks.keep(task, None)
        return task

    def invoke(self, session: Session, event: str, function: Handler, *args: Any) -> Any:
        """Runs one event the kernel's way: exceptions are logged (and give None), coroutines spawned."""
        try:
            result = function(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # a stray CancelledError must not stop the queue either
            report(session, event, args, error)
            return None
        if result is not None and asyncio.iscoroutine(result):
            return self.spawn(result, session=session, event=event, args=args)
        return result

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, session: Session, event: str, args: tuple[Any, ...]
    ) -> asyncio.Task[T]:
        """Runs a coroutine as a task of the kernel, which keeps it alive and logs its exception."""
        task = (self._loop or self.loop).create_task(coroutine)  # the property raises outside of run()
        self._tasks.keep(task, (session, event, args))
        return task

    def report(self, session: Session | str, event: str, args: tuple[Any, ...], error: BaseException) -> None:
        """Logs what an event raised."""
        report(session, event, args, error)

    def _deliver(self, session: Session, event: str, args: tuple[Any, ...]) -> None:
        function = session._handlers.get(event)
        if function is not None and session.kernel is self:
            self.invoke(session, event, function, *args)

    # --- timers and signals ------------------------------------------------------------------------------

    def delay(self, seconds: float, alias: str, event: str, *args: Any) -> Timer:
        """Calls an event once, in `seconds`. Raises UnknownSession and UnknownEvent."""
        session, _ = self._registry.resolve(alias, event)
        return self._timers.set(session, event, seconds, args)

    def signal(self, signum: int, alias: str, event: str | None) -> None:
        """Calls an event with the signal's number each time it comes; None as the event ends that.

        Several sessions may bind the same signal. Raises UnknownSession and UnknownEvent; RuntimeError for a
        signal that cannot be caught, and off the main thread.
        """
        if event is not None:
            session, _ = self._registry.resolve(alias, event)
            self._signals.bind(signum, session, event)
        elif (bound := self.find(alias)) is not None:
            self._signals.unbind(signum, bound)

    def signal_default(self, signum: int, session: Session, event: str) -> None:
        """Calls an event for a signal that nothing else handles: no session binds it, and the program has no
        handler of its own. `run()` does not go on for it. Raises what `signal` raises.
        """
        self._signals.bind_default(signum, session, event)

    # --- running -----------------------------------------------------------------------------------------

    def on_start(self, function: Callable[[], object]) -> None:
        """Calls `function` when `run()` begins, before the loop. A PreforkError that it raises ends `run()`.

        If the kernel runs already, `function` is called soon, between turns.
        """
        if self._phase is Phase.RESTING:
            self._on_start.append(function)
        else:
            self.between_turns(function)

    def on_stop(self, function: Callable[[], object]) -> None:
        """Calls `function` when `run()` ends, last registered first, while the loop still exists."""
        self._on_stop.append(function)

    def hold(self, owner: object) -> None:
        """Keeps `run()` going for something the kernel cannot see, such as a listening server."""
        self._holds[id(owner)] = owner

    def release(self, owner: object) -> None:
        """Ends the hold of `owner`, if it has one."""
        self._holds.pop(id(owner), None)

    def stop(self) -> None:
        """Makes `run()` end after this turn. What is queued is still delivered; tasks are cancelled."""
        if self._phase is Phase.TURNING:
            self.loop.stop()
        if self._phase is not Phase.RESTING:
            self._phase = Phase.STOPPING

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

        That is: no event queued, no timer, task, watched descriptor, bound signal or hold. A PreforkError of
        a start hook, such as a taken port, becomes one line on standard error and SystemExit(2).

        In a child that was forked meanwhile it does not return: what follows in the program is the parent's.
        """
        if self._phase is not Phase.RESTING:
            raise RuntimeError("this kernel is running already")
        try:
            self._open()
            for function in self._on_start:
                function()
            for session in self.sessions:
                self._start(session)
            self._turn()
        except PreforkError as error:
            print(f"prefork: {error}", file=sys.stderr)
            raise SystemExit(2) from error
        finally:
            try:
                self._close()
            finally:
                if self._is_child:
                    end_process()

    def _turn(self) -> None:
        """Alternates between the loop and what is to be done while no loop runs.

        A function of `between_turns` may fork. Then two processes return from it to here. The parent goes on
        with the next function and resumes its loop. The child has a new loop, and no function that waits
        (`_begin_child`): it goes on with its first turn.

        The loop turns before what a function has added is run: a manager that forks again and again must
        hear what else comes.
        """
        self._run_between()
        while self._phase is not Phase.STOPPING:
            self._phase = Phase.TURNING
            if self._between:
                self.loop.stop()  # after one turn
            self.loop.run_forever()
            if self._phase is Phase.TURNING:
                self._phase = Phase.BETWEEN_TURNS
            self._run_between()

    def _run_between(self) -> None:
        """Runs what waits now. In a child that is forked here, nothing waits any more."""
        for _ in range(len(self._between)):
            if self._between and self._phase is not Phase.STOPPING:
                self._between.popleft()()

    def _may_wait(self) -> bool:
        """Whether a wait without end can end. asyncio starts one if it has no callback and no timer."""
        if self._holds or self._signals or self._phase is not Phase.TURNING:
            return True
        if self.loop.is_watching() or asyncio.all_tasks(self.loop):
            return True
        self.stop()
        return False

    def _open(self) -> None:
        self._loop = self.loop_factory(self._may_wait)
        self._phase = Phase.BETWEEN_TURNS
        self._timers.attach(self._loop)
        self._signals.attach(self._loop)
        self._queue.attach(self._loop)

    def _close(self) -> None:
        if (loop := self._loop) is None:
            return
        self._phase = Phase.STOPPING
        try:
            for function in reversed(self._on_stop):
                try:
                    function()
                except Exception:
                    logger.exception("stop hook %r failed", function)
            self._timers.cancel()
            self._queue.drain()
            loop.finish_tasks(cancel=True)
            for session in self._registry.started:
                self._stop(session)
            loop.finish_tasks(cancel=False)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            self._make_parts()
            loop.close()
            self._loop = None
            self._phase = Phase.RESTING

    # --- forking -----------------------------------------------------------------------------------------

    def fork(self, *, ignored: Collection[int] = ()) -> int:
        """Forks this process; legal only in a function given to `between_turns`. Returns as os.fork does.

        The child keeps sessions, aliases and holds and gets an engine and a loop of its own. Queue, timers,
        tasks, signals and pending `between_turns` functions stay with the parent. The child ignores the
        signals `ignored`. Raises OSError, and RuntimeError anywhere else.
        """
        if self._phase is not Phase.BETWEEN_TURNS:
            raise RuntimeError(f"a kernel forks between turns only, and is {self._phase.value}")
        if not self._is_prepared:
            prepare_memory(_warm_up)
            self._is_prepared = True
        flush_output()
        with BlockedSignals():
            pid = os.fork()
            if pid == 0:
                self._begin_child(ignored)
        return pid

    def _begin_child(self, ignored: Collection[int]) -> None:
        """Child: discards what is its parent's, and opens a loop of its own.

        If it cannot, the process ends here. To the caller of `fork` an exception means a failed fork, and
        that caller would go on as the parent.
        """
        self._is_child = True
        try:
            self._discard(ignored)
            self._open()
        except OSError as error:
            print(f"prefork: a child cannot begin: {OutOfResources.from_refusal(error)}", file=sys.stderr)
            exit_child(1)
        except BaseException:
            end_process()

    def _discard(self, ignored: Collection[int]) -> None:
        """Child: takes what its parent has not finished out of reach. It is never freed (`Loop.discard`)."""
        self.loop.discard()
        self._signals.discard(ignored)
        self._discarded += (self._loop, self._queue, self._timers, self._tasks, self._signals, self._between)
        self._make_parts()


def _warm_up() -> None:
    """What each child does first: it makes its parts and its loop, and runs a task.

    It attaches no signals: this process handles them on another loop.
    """

    async def nothing() -> None: ...

    kernel = Kernel()
    loop = kernel._loop = EngineLoop()
    kernel._timers.attach(loop)
    kernel._queue.attach(loop)
    task = kernel.spawn(nothing(), session=Session(), event="warm-up", args=())
    loop.run_until_complete(task)
    loop.close()
