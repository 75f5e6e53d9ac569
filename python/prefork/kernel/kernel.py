"""The kernel: delivers events to sessions and owns the loop they run on.

It owns this process's engine, its asyncio loop, the queue of posted events, the timers, the tasks of
asynchronous events and the signals. Sessions, aliases and holds survive a fork; all the rest belongs to the
process that made it.

Always: an exception in an event is logged with session, event and arguments, and the kernel goes on. A
process forks only at the top level of `run()`, where no loop is running.

It knows asyncio and the engine's selector. It must know no HTTP and no pool.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import os
import reprlib
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

from prefork._engine import Engine, fill_heap
from prefork.errors import OptionError, PreforkError, UnknownEvent, UnknownSession
from prefork.kernel.loop import EngineLoop, Loop, warm_up
from prefork.kernel.session import Handler, Session
from prefork.kernel.signals import Blocked, Signals
from prefork.kernel.timer import Timer

logger = logging.getLogger("prefork.kernel")

S = TypeVar("S", bound=Session)
T = TypeVar("T")
Delivery = tuple[Session, str, tuple[Any, ...]]  # session, event, arguments

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 200


class Phase(enum.Enum):
    """Where `run()` is. A process may fork only BETWEEN_TURNS."""

    RESTING = "not running"
    BETWEEN_TURNS = "at its top level, no loop running"
    TURNING = "in the loop"
    STOPPING = "ending"


class Kernel:
    """Queues and delivers the events of one process's sessions.

    Its methods belong to the thread that runs it; from another one, use `kernel.loop.call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self._sessions: list[Session] = []
        self._aliases: dict[str, Session] = {}
        self._living: dict[int, Session] = {}  # between their _start and their _stop
        self._holds: dict[int, object] = {}
        self._on_start: list[Callable[[], object]] = []
        self._on_stop: list[Callable[[], object]] = []
        self._phase = Phase.RESTING
        self.loop_factory: Callable[[Callable[[], bool]], Loop] = EngineLoop
        self._loop: Loop | None = None
        self._frozen = False
        self._is_child = False
        self._discarded: list[object] = []
        self._forget()

    def _forget(self) -> None:
        """Begins anew with everything that belongs to one process and one run."""
        self._queue: deque[Delivery] = deque()
        self._draining = False
        self._between: deque[Callable[[], object]] = deque()
        self._timers: set[Timer] = set()
        self._tasks: dict[asyncio.Task[Any], Delivery | None] = {}
        self._signals = Signals(self._deliver, self.stop)
        for session in self._sessions:
            session._delays.clear()

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
        if session.alias is not None:
            self._name(session, session.alias)
        self._sessions.append(session)
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
        """Lets a session go: `_stop`, then its aliases, timers, signals and queued events are gone.

        Tasks of its asynchronous events run on. Raises UnknownSession if it is not in this kernel.
        """
        if session.kernel is not self:
            raise UnknownSession(f"session {session} is not in this kernel")
        self._stop(session)
        session.kernel = None  # type: ignore[assignment]
        self._sessions = [other for other in self._sessions if other is not session]
        self._aliases = {name: other for name, other in self._aliases.items() if other is not session}
        for timer in [timer for timer in self._timers if timer.session is session]:
            timer.cancel()
        self._signals.drop(session)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All of them, in the order they were added."""
        return tuple(self._sessions)

    def find(self, alias: str) -> Session | None:
        """The session that has this alias, or None."""
        return self._aliases.get(alias)

    def resolve(self, alias: str, event: str) -> tuple[Session, Handler]:
        """Who has that alias, and what runs on that event. Raises UnknownSession and UnknownEvent."""
        session = self._aliases.get(alias)
        if session is None:
            raise UnknownSession(f"no session has the alias {alias!r}; event {event!r} cannot reach it")
        return session, self._expect_event(session, event)

    def _start(self, session: Session) -> None:
        if id(session) not in self._living:
            self._living[id(session)] = session
            self._deliver(session, "_start")

    def _stop(self, session: Session) -> None:
        if self._living.pop(id(session), None) is not None:
            self._deliver(session, "_stop")

    def _name(self, session: Session, alias: str) -> None:
        holder = self._aliases.setdefault(alias, session)
        if holder is not session:
            raise OptionError(f"alias {alias!r} belongs to a {type(holder).__name__} already; choose another")

    def _expect_event(self, session: Session, event: str) -> Handler:
        function = session._handlers.get(event)
        if function is None:
            known = ", ".join(sorted(session._handlers)) or "none"
            raise UnknownEvent(f"session {session} has no event {event!r}; it has {known}")
        return function

    # --- events ------------------------------------------------------------------------------------------

    def post(self, alias: str, event: str, *args: Any) -> bool:
        """Queues an event, in order of posting. False if nobody has that alias or event."""
        session = self._aliases.get(alias)
        return session is not None and self._enqueue(session, event, args)

    def call(self, alias: str, event: str, *args: Any) -> Any:
        """Runs an event now and returns its value; that of an asynchronous event is its task.

        Raises UnknownSession, UnknownEvent and what the event raises; the caller handles it, so no log here.
        """
        session, function = self.resolve(alias, event)
        result = function(*args)
        if not asyncio.iscoroutine(result):
            return result
        task = self.spawn(result, session=session, event=event, args=args)
        self._tasks[task] = None
        return task

    def invoke(self, session: Session, event: str, function: Handler, *args: Any) -> Any:
        """Runs one event the kernel's way: exceptions are logged (and give None), coroutines spawned."""
        try:
            result = function(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # a stray CancelledError must not stop the queue either
            self.report(session, event, args, error)
            return None
        if result is not None and asyncio.iscoroutine(result):
            return self.spawn(result, session=session, event=event, args=args)
        return result

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, session: Session, event: str, args: tuple[Any, ...]
    ) -> asyncio.Task[T]:
        """Runs a coroutine as a task of the kernel, which keeps it alive and logs its exception."""
        task = self.loop.create_task(coroutine)
        self._tasks[task] = (session, event, args)  # asyncio itself holds tasks weakly
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        delivery = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
            return  # those end the run, and that is no failure
        if delivery is not None:
            self.report(*delivery, error)

    def report(self, session: Session | str, event: str, args: tuple[Any, ...], error: BaseException) -> None:
        """Logs what an event raised."""
        shown = ", ".join(map(_shorten.repr, args))
        logger.error("session %s: event %s(%s) failed", session, event, shown, exc_info=error)

    def _deliver(self, session: Session, event: str, args: tuple[Any, ...] = ()) -> None:
        function = session._handlers.get(event)
        if function is not None and session.kernel is self:
            self.invoke(session, event, function, *args)

    def _enqueue(self, session: Session, event: str, args: tuple[Any, ...]) -> bool:
        if event not in session._handlers:
            return False
        self._queue.append((session, event, args))
        if not self._draining and self._loop is not None:
            self._draining = True
            self._loop.call_soon(self._drain)
        return True

    def _drain(self) -> None:
        # Only what was queued when the turn began: events that post each other must not starve the sockets.
        for _ in range(len(self._queue)):
            self._deliver(*self._queue.popleft())
        self._draining = bool(self._queue)
        if self._draining:
            self.loop.call_soon(self._drain)

    # --- timers and signals ------------------------------------------------------------------------------

    def delay(self, seconds: float, alias: str, event: str, *args: Any) -> Timer:
        """Calls an event once, in `seconds`. Raises UnknownSession and UnknownEvent."""
        session, _ = self.resolve(alias, event)
        return self._set_timer(session, event, seconds, args)

    def _set_timer(self, session: Session, event: str, seconds: float, args: tuple[Any, ...]) -> Timer:
        self._expect_event(session, event)
        timer = Timer(self, session, event, args, time.monotonic() + seconds)
        self._timers.add(timer)
        if self._loop is not None:
            timer._arm(self._loop)
        return timer

    def signal(self, signum: int, alias: str, event: str | None) -> None:
        """Calls an event with the signal's number each time it comes; None as the event ends that.

        Several sessions may bind the same signal. Raises UnknownSession and UnknownEvent; RuntimeError for a
        signal that cannot be caught, and off the main thread.
        """
        if event is not None:
            session, _ = self.resolve(alias, event)
            self._signals.bind(signum, session, event)
        elif (bound := self._aliases.get(alias)) is not None:
            self._signals.unbind(signum, bound)

    def stand_in(self, signum: int, session: Session, event: str) -> None:
        """Calls an event for a signal as long as nobody else hears it: it is bound nowhere, and the program
        has no handler of its own. `run()` does not go on for it. Raises what `signal` raises.
        """
        self._signals.answer(signum, session, event)

    # --- running -----------------------------------------------------------------------------------------

    def on_start(self, function: Callable[[], object]) -> None:
        """Has `function` called when `run()` begins, before the loop; an PreforkError of it ends it.

        If the kernel runs already, that is between turns, and soon.
        """
        if self._phase is Phase.RESTING:
            self._on_start.append(function)
        else:
            self.between_turns(function)

    def on_stop(self, function: Callable[[], object]) -> None:
        """Has `function` called when `run()` ends, last registered first, while the loop still exists."""
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

        In order of asking, and soon: the loop stops after this turn and resumes afterwards. An exception of
        `function` ends `run()`.
        """
        self._between.append(function)
        if self._phase is Phase.TURNING:
            self.loop.stop()

    def run(self) -> None:
        """Delivers events until `stop()`, or until nothing can happen any more.

        That is: no event queued, no timer, task, watched descriptor, bound signal or hold. An PreforkError
        of a start hook, such as a taken port, becomes one line on standard error and SystemExit(2).
        """
        if self._phase is not Phase.RESTING:
            raise RuntimeError("this kernel is running already")
        try:
            self._open()
            for function in self._on_start:
                function()
            for session in list(self._sessions):
                self._start(session)
            self._turn()
        except PreforkError as error:
            print(f"prefork: {error}", file=sys.stderr)
            raise SystemExit(2) from error
        finally:
            self._close()

    def _turn(self) -> None:
        while self._phase is not Phase.STOPPING:
            if self._between:
                self._between.popleft()()
                continue
            self._phase = Phase.TURNING
            self.loop.run_forever()
            if self._phase is Phase.TURNING:
                self._phase = Phase.BETWEEN_TURNS

    def _may_wait(self) -> bool:
        """Asked when asyncio is about to wait for ever, so it has no callback and no timer left."""
        if self._holds or self._signals or self._phase is not Phase.TURNING:
            return True
        if self.loop.is_watching() or asyncio.all_tasks(self.loop):
            return True
        self.stop()
        return False

    def _open(self) -> None:
        self._loop = self.loop_factory(self._may_wait)
        self._phase = Phase.BETWEEN_TURNS
        for timer in self._timers:
            timer._arm(self._loop)
        self._signals.attach(self._loop)
        if self._queue:
            self._draining = True
            self._loop.call_soon(self._drain)

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
            for timer in list(self._timers):
                timer.cancel()
            self._drain()
            loop.finish_tasks(cancel=True)
            for session in list(self._living.values()):
                self._stop(session)
            loop.finish_tasks(cancel=False)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            self._forget()
            loop.close()
            self._loop = None
            self._phase = Phase.RESTING
            if self._is_child:
                self._end_process()

    # --- forking -----------------------------------------------------------------------------------------

    def fork(self, *, ignored: Collection[int] = ()) -> int:
        """Forks this process; legal only in a function given to `between_turns`. Returns as os.fork does.

        The child keeps sessions, aliases and holds and gets an engine and a loop of its own. Queue, timers,
        tasks, signals and pending `between_turns` functions stay behind, with the parent; the child ignores
        the signals `ignored`. Raises OSError, and RuntimeError anywhere else.
        """
        if self._phase is not Phase.BETWEEN_TURNS:
            raise RuntimeError(f"a kernel forks between turns only, and is {self._phase.value}")
        if not self._frozen:
            warm_up()
            gc.freeze()  # what is shared stays shared: a child's collector does not write to these pages,
            fill_heap()  # and its objects are not put between the others
            self._frozen = True
        _flush()  # or the child would write it once more
        with Blocked():
            pid = os.fork()
            if pid == 0:
                self._begin_child(ignored)
        return pid

    def _begin_child(self, ignored: Collection[int]) -> None:
        self._is_child = True
        try:
            self._discard(ignored)
            self._open()
        except BaseException:
            self._end_process()  # our caller would take it for a failed fork, and go on as the parent

    def _end_process(self) -> NoReturn:
        """In a child `run()` does not return: what follows it in the program is the parent's to do."""
        error = sys.exception()
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            status = 1
            sys.excepthook(type(error), error, error.__traceback__)
        else:
            status = 0
        logging.shutdown()
        _flush()
        os._exit(status)

    def _discard(self, ignored: Collection[int]) -> None:
        """In a new child: the parent's unfinished business is buried, out of reach and never freed."""
        self.loop.discard()
        self._signals.discard(ignored)
        self._discarded += (self._loop, self._tasks, self._queue, self._timers, self._between)
        self._forget()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, full or gone: none of that is our business
            continue
