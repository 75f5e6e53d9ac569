"""The kernel and its sessions: how a session begins, lives and ends.

Both are here, because each names the other: a session has its kernel, and a kernel its sessions.

A kernel is a `Run`, which has the loop, and a `Delivery`, which brings the events; both are in files of their
own. Sessions, aliases and holds survive a fork; what is queued, timed or running belongs to one process and
one run.

Always: a session gets `_start` before and `_stop` after all its other events. It must know no HTTP and no
pool.
"""

from __future__ import annotations

import asyncio
from asyncio import Handle
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, TypeVar

from prefork.errors import OptionError, PreforkError, UnknownSession
from prefork.kernel.delivery import Delivery
from prefork.kernel.events import START, STOP, Handler, Recipient
from prefork.kernel.loop import EngineLoop, Loop
from prefork.kernel.run import Phase
from prefork.kernel.timers import Timer, due_at, due_in

S = TypeVar("S", bound="Session")

START_FAILED = 3
"""Exit status of a program whose session fails in `_start`."""


class Session(Recipient):
    """A holder of named events. Subclass it and mark methods with `@event`.

    `alias`, on the class or on the object, is the name others post to; `Kernel.add` registers it. The session
    itself, and its `id`, work wherever an alias does. `kernel` is None before that, and again after
    `Kernel.remove`. An overridden method needs no second `@event`.

    The kernel calls two events: `_start` when it runs (at once for a session added while it runs) and `_stop`
    when it ends or the session is removed. A forked child inherits what `_start` made, if it was synchronous,
    and has a `_stop` of its own. A third one, `_default(event, args)`, gets the events that have no handler.

    A session that nothing can reach any more is removed: after one of its events, if it has no alias, no
    event queued, no timer, no task of an asynchronous event, no bound signal and no hold (`Kernel.hold`), and
    no other session, such as a server with a handler, refers to it.
    """

    kernel: Kernel = None  # type: ignore[assignment]  # users write self.kernel.post, not assert ... is not None

    def on(self, event: str, function: Handler) -> None:
        """Makes `function` the handler of an event from now on. It replaces the one there is."""
        super().on(event, function)
        if self.kernel is not None:
            self.kernel._changed()

    def off(self, event: str) -> None:
        """Removes the handler of an event, one that the class defines too. Nothing happens without one.

        What is queued for that event, and a timer, goes to `_default` then, or is dropped.
        """
        super().off(event)
        if self.kernel is not None:
            self.kernel._changed()

    def post(self, event: str, *args: Any) -> bool:
        """Queues an event to oneself (POE's `yield`). False if there is no such event, or no kernel."""
        return self.kernel is not None and self.kernel.post(self, event, *args)

    def delay(self, event: str, seconds: float | None = None, *args: Any) -> Timer | None:
        """Calls `event` of this session once, in `seconds`; there is one such timer for each event name.

        It replaces the one that was set; without `seconds` it only cancels that. Raises UnknownEvent, and
        OptionError for a time that is no finite number.
        """
        return self._delay(event, None if seconds is None else due_in(seconds), args)

    def alarm(self, event: str, moment: float | datetime | None = None, *args: Any) -> Timer | None:
        """As `delay`, at a moment of the calendar: a datetime, or seconds since the epoch."""
        return self._delay(event, None if moment is None else due_at(moment), args)

    def _delay(self, event: str, when: float | None, args: tuple[Any, ...]) -> Timer | None:
        if self.kernel is None and when is None:
            return None  # outside of a kernel it has no timers
        return self.kernel._timers.delay(self, event, when, args)

    def clear_timers(self) -> None:
        """Cancels every timer of this session."""
        if self.kernel is not None:
            self.kernel._timers.cancel(self)

    def alias_set(self, name: str) -> None:
        """Makes `name` one more alias of this session. Raises OptionError if another session has it."""
        self.kernel._registry.name(self, name)

    def alias_remove(self, name: str) -> None:
        """Gives up one alias of this session. Raises UnknownSession if it is not this session's."""
        self.kernel._registry.unname(self, name)
        self.kernel.end_if_unreachable(self)

    def refers_to(self, session: Session) -> bool:  # noqa: ARG002
        """Whether this session may call events of another one that it does not know by an alias.

        A session that does so overrides this method; the other one is kept as long as it returns True.
        """
        return False


class Kernel(Delivery[Session]):
    """Queues and delivers the events of one process's sessions.

    Where a session is asked for, its alias, its `id` and the session itself are the same. The methods belong
    to the thread that runs the kernel; from another one, use `kernel.loop.call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._referring: list[Session] = []
        self._suspects: dict[int, tuple[Session, int]] = {}
        """Sessions that may be unreachable, and how many events must be delivered before they are looked at:
        an event that is queued may lead to such a session, though it is one of another."""
        self._looking: Handle | None = None

    # --- sessions ----------------------------------------------------------------------------------------

    def add(self, session: S) -> S:
        """Takes in a session under its alias. Raises OptionError if the alias is taken.

        If the kernel runs, `_start` is called now. What it raises is raised here, and the session not added.
        """
        if session.kernel is not None:
            raise OptionError(f"session {session} is in a kernel already; remove it there first")
        self._registry.add(session)
        session.kernel = self
        if type(session).refers_to is not Session.refers_to:
            self._referring.append(session)
        if self._phase is not Phase.RESTING:
            try:
                self._start(session)
            except BaseException:
                self.remove(session)
                raise
        return session

    def session(self, alias: str | None, handlers: Mapping[str, Handler]) -> Session:
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
        self._drop_events(session)
        self._timers.cancel(session)
        self._signals.drop(session)
        if any(other is session for other in self._referring):
            self._referring = [other for other in self._referring if other is not session]
            for other in list(self._registry.unnamed.values()):
                self.end_if_unreachable(other)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions, in the order they were added."""
        return tuple(self._registry.sessions)

    def _start(self, session: Session, *, ends_run: bool = False) -> None:
        """Calls `_start`, if that was not done. Raises what it raises.

        `ends_run`: if an asynchronous `_start` fails, `run()` ends. Otherwise the session is removed then.
        """
        if not self._registry.start(session):
            return
        try:
            function = session.handler(START)
            result = None if function is None else function()
        except BaseException:
            self._registry.stop(session)  # it has not started, so there is nothing to stop
            raise
        if asyncio.iscoroutine(result):
            starting = self._started(session, result, ends_run=ends_run)
            self.spawn(starting, session=session, event=START, args=())
        else:
            self.end_if_unreachable(session)

    async def _started(
        self, session: Session, starting: Coroutine[Any, Any, object], *, ends_run: bool
    ) -> None:
        try:
            await starting
        except Exception as error:
            self._registry.stop(session)
            self.report(session, START, (), error)
            if ends_run:
                raise SystemExit(START_FAILED) from None
            if session.kernel is self:
                self.remove(session)

    def _stop(self, session: Session) -> None:
        if self._registry.stop(session):
            self._deliver(session, STOP, ())

    # --- their end ---------------------------------------------------------------------------------------

    def end_if_unreachable(self, session: Session) -> None:
        """Removes a session soon if nothing can reach it any more, as `Session` describes that."""
        if session._id not in self._registry.unnamed or not self._registry.has_started(session):
            return
        self._suspects[session._id] = session, sum(self._counts())
        self._look_soon()

    def _look_soon(self) -> None:
        if self._looking is None and self._loop is not None:
            self._looking = self._loop.call_soon(self._end_unreachable)

    def _end_unreachable(self) -> None:
        self._looking = None
        suspects, self._suspects = self._suspects, {}
        delivered, _ = self._counts()
        queued = {session._id for session in self._queued()}
        for session, after in suspects.values():
            if session.kernel is not self or self._is_reachable(session):
                continue
            if after > delivered or session._id in queued:
                self._suspects[session._id] = session, after
            else:
                self.remove(session)
        if self._suspects:
            self._look_soon()

    def _is_reachable(self, session: Session) -> bool:
        """Whether something may still call one of its events. The queue is not looked at."""
        return (
            session._id not in self._registry.unnamed
            or self._timers.has(session)
            or self._tasks.has(session)
            or self._signals.has(session)
            or id(session) in self._holds
            or any(other.refers_to(session) for other in self._referring)
        )

    # --- a run -------------------------------------------------------------------------------------------

    def release(self, owner: object) -> None:
        """Ends the hold of `owner`, if it has one. A session that nothing else can reach ends then."""
        super().release(owner)
        if isinstance(owner, Session):
            self.end_if_unreachable(owner)

    def _begin(self) -> None:
        for session in self.sessions:
            try:
                self._start(session, ends_run=True)
            except PreforkError:
                raise
            except Exception as error:
                self.report(session, START, (), error)
                raise SystemExit(START_FAILED) from None

    def _finish(self, loop: Loop) -> None:
        self._timers.cancel()
        self._drain()
        loop.finish_tasks(cancel=True)

    def _end(self, loop: Loop) -> None:
        self._finish(loop)
        for session in self._registry.started:
            self._stop(session)
        loop.finish_tasks(cancel=False)

    def _leave(self) -> tuple[object, ...]:
        mine = self._suspects, self._looking
        self._suspects, self._looking = {}, None
        return (*mine, *super()._leave())

    def _warm_up(self) -> None:
        """It attaches no signals: this process handles them on another loop."""

        async def nothing() -> None: ...

        kernel = Kernel()
        loop = kernel._loop = EngineLoop()
        loop.reopen()
        kernel._timers.attach(loop)
        kernel._begin_delivery()
        task = kernel.spawn(nothing(), session=Session(), event="warm-up", args=())
        loop.run_until_complete(task)
        loop.close()
