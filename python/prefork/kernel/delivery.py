"""`Delivery`: posts, calls and times the events of recipients, on the loop of a `Run`.

Owns: what belongs to one process and one run, each in a file of its own: the timers, the tasks of
asynchronous events, the signals, and the queue of posted events, which is native (`EventQueue`).

Always: an exception in an event is reported with session, event and arguments, and delivery goes on. It must
not know when a session begins and ends.
"""

from __future__ import annotations

import asyncio
import logging
import reprlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Coroutine
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

from prefork._engine import EventQueue
from prefork.errors import OptionError, UnknownEvent, UnknownSession, WrongArguments
from prefork.kernel.events import Handler, Recipient
from prefork.kernel.loop import Loop
from prefork.kernel.registry import R, Registry
from prefork.kernel.run import Run
from prefork.kernel.signals import Handler as SignalHandler
from prefork.kernel.signals import Signals
from prefork.kernel.tasks import Tasks
from prefork.kernel.timers import Timer, Timers, due_at, due_in
from prefork.logs.escaping import show

logger = logging.getLogger("prefork.kernel")

T = TypeVar("T")
Target: TypeAlias = str | int | Recipient
"""An alias, the id of a session, or the session itself."""
OF_MISUSE = (TypeError, AttributeError, OptionError, UnknownSession, UnknownEvent)
"""What an event raises that is given arguments that it does not take."""
Parts: TypeAlias = tuple[Timers, Tasks, Signals]
ErrorHook: TypeAlias = Callable[[Any, str, tuple[Any, ...], BaseException], object]

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 200


class Delivery(EventQueue, Run, Generic[R]):
    """Where a session is asked for, its alias, its `id` and the session itself are the same."""

    def __init__(self) -> None:
        super().__init__()
        self._registry: Registry[R] = Registry(self._targets, self._changed)
        self._on_error: list[ErrorHook] = []
        self._replaced_handlers: dict[int, SignalHandler] = {}
        self._parts_of_child: Parts | None = None
        self._timers, self._tasks, self._signals = self._make_parts()

    def _make_parts(self) -> Parts:
        """The parts that belong to one process and one run, empty."""
        return (
            Timers(self._deliver, self.end_if_unreachable),
            Tasks(self.report, self.end_if_unreachable),
            Signals(self._deliver, self.stop, self._replaced_handlers),
        )

    def _prepare_child(self) -> None:
        super()._prepare_child()
        self._parts_of_child = self._make_parts()

    def _is_of_event(self, error: BaseException) -> bool:
        return self._tasks.raised(error)

    @abstractmethod
    def end_if_unreachable(self, session: R) -> None:
        """An event of that session has run, or something that could call one has ended."""

    def find(self, target: Target) -> R | None:
        """The session that has this alias or id, or None. A session of this kernel is found as itself."""
        return self._registry.find(target)

    # --- what the queue leaves to Python -----------------------------------------------------------------

    def _post(self, target: Target, event: str, args: tuple[Any, ...]) -> bool:
        """`post` to a session that is not named by an alias, or to `_default`."""
        session = self._registry.find(target)
        if session is None or session.handler(event) is None:
            return False
        self._put(session, event, args)
        return True

    def _call(self, target: Target, event: str, args: tuple[Any, ...]) -> Any:
        """`call` of such a session."""
        session, function = self._registry.resolve(target, event)
        try:
            result = function(*args)
        except Exception as error:
            raise self._explained(session, event, args, error)  # noqa: B904  (it is that error, or explains it)
        return self._called(session, event, args, result)

    def _explained(
        self, session: R, event: str, args: tuple[Any, ...], error: BaseException
    ) -> BaseException:
        """What `call` raises for what an event raised."""
        return (session._misuse(event, args) if isinstance(error, OF_MISUSE) else None) or error

    def _resolve(self, target: Target, event: str) -> tuple[R, Handler]:
        """`resolve` of such a session."""
        return self._registry.resolve(target, event)

    def _called(self, session: R, event: str, args: tuple[Any, ...], result: Any) -> Any:
        """What `call` gives for what an event returned."""
        if asyncio.iscoroutine(result):
            result = self.loop.create_task(result)
            self._tasks.keep(result, (session, event, args), reports=False)
        elif self._registry.unnamed:
            self.end_if_unreachable(session)
        return result

    def _returned(self, session: R, event: str, args: tuple[Any, ...], result: Any) -> None:
        """A delivered event returned this."""
        if asyncio.iscoroutine(result):
            self.spawn(result, session=session, event=event, args=args)

    def _deliver(self, session: R, event: str, args: tuple[Any, ...]) -> None:
        """Delivers one event, of any session."""
        function = session.handler(event)
        if function is not None and self._registry.has(session):
            self.invoke(session, event, function, *args)
        if self._registry.unnamed:
            self.end_if_unreachable(session)

    def _drain_soon(self) -> None:
        if self._loop is not None:
            self._loop.call_soon(self._drain, context=self._context)

    # --- events ------------------------------------------------------------------------------------------

    def invoke(self, session: R, event: str, function: Handler, *args: Any) -> Any:
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
        self, coroutine: Coroutine[Any, Any, T], *, session: R, event: str, args: tuple[Any, ...]
    ) -> asyncio.Task[T]:
        """Runs a coroutine as a task of the kernel, which keeps it alive and logs its exception."""
        task = (self._loop or self.loop).create_task(coroutine)  # the property raises outside of run()
        self._tasks.keep(task, (session, event, args), reports=True)
        return task

    # --- exceptions --------------------------------------------------------------------------------------

    def on_error(self, function: ErrorHook) -> None:
        """Calls `function(session, event, args, error)` for each exception of an event (POE's signal DIE).

        That is: of a posted event, a timer, a signal, a task of an asynchronous event, and a handler of a
        server. If it returns a true value, the exception is handled, and is not logged. What it raises itself
        is logged. An exception of `call` belongs to its caller.
        """
        self._on_error.append(function)

    def report(
        self,
        session: R | str,
        event: str,
        args: tuple[Any, ...],
        error: BaseException,
        about: dict[str, str] | None = None,
    ) -> None:
        """Gives the exception of an event to the functions of `on_error`; if none handles it, logs it, with
        the further attributes `about` of the record.
        """
        self.end_if_abandoned(error)
        if not isinstance(session, str):
            error = self._explained(session, event, args, error)
        handled = False
        for function in self._on_error:
            try:
                handled |= bool(function(session, event, args, error))
            except Exception:
                logger.exception("error hook %r failed", function)
        if handled:
            return
        if isinstance(error, WrongArguments):  # the message is enough: no traceback
            logger.error("%s", error, extra=about)
        else:
            shown = ", ".join(show(argument, _shorten.repr) for argument in args)
            text = "session %s: event %s(%s) failed"
            logger.error(text, session, event, shown, exc_info=error, extra=about)

    # --- timers and signals ------------------------------------------------------------------------------

    def delay(self, seconds: float, target: Target, event: str, *args: Any) -> Timer:
        """Calls an event once, in `seconds`.

        Raises UnknownSession, UnknownEvent, and OptionError for a time that is no finite number.
        """
        session, _ = self._registry.resolve(target, event)
        return self._timers.set(session, event, due_in(seconds), args)

    def alarm(self, moment: float | datetime, target: Target, event: str, *args: Any) -> Timer:
        """Calls an event once, at a moment of the calendar: a datetime, or seconds since the epoch.

        A change of the system's clock after this call does not move it. Raises as `delay` does.
        """
        session, _ = self._registry.resolve(target, event)
        return self._timers.set(session, event, due_at(moment), args)

    def signal(self, signum: int, target: Target, event: str | None) -> None:
        """Calls an event with the signal's number each time it comes; None as the event ends that.

        Several sessions may bind the same signal. `run()` does not go on for a bound signal. Raises
        UnknownSession and UnknownEvent; RuntimeError for a signal that cannot be caught, and off the main
        thread.
        """
        if event is not None:
            session, _ = self._registry.resolve(target, event)
            self._signals.bind(signum, session, event)
        elif (bound := self._registry.find(target)) is not None:
            self._signals.unbind(signum, bound)
            self.end_if_unreachable(bound)

    def signal_default(self, signum: int, session: R, event: str) -> None:
        """Calls an event for a signal that nothing else handles: no session binds it, and the program has no
        handler of its own. Raises what `signal` raises.
        """
        self._signals.bind_default(signum, session, event)

    def tell_early(self, signum: int, function: Callable[[], object]) -> None:
        """Has `function` called as soon as a bound signal comes, even if code blocks the loop, until
        `share_signal`.
        """
        self._signals.tell_early(signum, function)

    def tell_each(self, signum: int, function: Callable[[int], object]) -> None:
        """Has `function(signum)` called each time that a bound signal comes, even if code blocks the loop.

        `share_signal` has to come before.
        """
        self._signals.tell_each(signum, function)

    def set_aside(self, signum: int) -> None:
        """Gives a signal its default action until it is bound, here and in children. The program's handler is
        called then, as `share_signal` says.
        """
        self._signals.set_aside(signum)

    def program_handles(self, signum: int) -> bool:
        """Whether the program has a handler of its own for that signal, also if a binding has replaced it."""
        return self._signals.program_handles(signum)

    def share_signal(self, signum: int) -> None:
        """Has the program's own handler of a bound signal called too, for the first of such signals."""
        self._signals.share(signum)

    # --- on the loop of a run ----------------------------------------------------------------------------

    def _attach(self, loop: Loop) -> None:
        self._timers.attach(loop)
        self._signals.attach(loop)
        self._begin_delivery()
        loop.engine.deliver(self)

    def _leave(self) -> tuple[object, ...]:
        parts = self._end_delivery(), self._timers, self._tasks, self._signals
        self._timers, self._tasks, self._signals = self._parts_of_child or self._make_parts()
        self._parts_of_child = None
        return parts

    def _abandon_events(self) -> None:
        self._discarded.append(self._end_delivery())  # kept: what is freed may run

    def _discard_signals(self, ignored: Collection[int]) -> None:
        self._signals.discard(ignored)
