"""Which session handles which signal, and what handles a signal that no session binds.

The tables belong to one process. `attach` makes them real on a loop; bindings made before wait for that.
Events run in the loop, between callbacks, never in the middle of other code.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` is made of it
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

from prefork.kernel.events import Recipient
from prefork.kernel.fork_hooks import handles_signals, is_ours
from prefork.kernel.loop import Loop

logger = logging.getLogger("prefork.kernel")

Handler: TypeAlias = Callable[[int, FrameType | None], object]
"""A handler of signal.signal."""


@handles_signals
def have_no_effect(_signum: int, _frame: object) -> None:
    """The handler of a signal that is for another process. Not SIG_IGN: the programs that this process starts
    would inherit that, and hear no Ctrl-C.
    """


def _is_programs(handler: object) -> bool:
    """Whether the program has set it, and not the product, a loop or the interpreter."""
    return callable(handler) and handler is not signal.default_int_handler and not is_ours(handler)


class Signals:
    """The signals of one kernel.

    `deliver` runs an event of a session; `interrupt` is what Ctrl-C does if SIGINT is not bound. `replaced`
    has the handlers of the program that bindings have replaced: of this process, or of its parents.
    """

    def __init__(
        self,
        deliver: Callable[[Any, str, tuple[int]], None],
        interrupt: Callable[[], None],
        replaced: dict[int, Handler],
    ) -> None:
        self._deliver = deliver
        self._interrupt = interrupt
        self._replaced = replaced
        self._bound: dict[int, list[tuple[Recipient, str]]] = {}
        self._defaults: dict[int, list[tuple[Recipient, str]]] = {}
        self._handled: set[int] = set()  # those that have our handler on the loop
        self._shared: dict[int, Handler] = {}  # the loop's handlers of the signals that are shared
        self._early: dict[int, tuple[list[Callable[[], object]], Handler]] = {}
        self._each: dict[int, tuple[list[Callable[[int], object]], Handler]] = {}
        self._loop: Loop | None = None

    def has(self, session: Recipient) -> bool:
        """Whether that session has bound a signal."""
        return any(pair[0] is session for pairs in self._bound.values() for pair in pairs)

    def attach(self, loop: Loop) -> None:
        """Handles the signals on `loop` from now on."""
        self._loop = loop
        for signum in self._bound:
            self._apply(signum)
        self._catch_interrupt()

    def discard(self, ignored: Collection[int]) -> None:
        """In a forked child: restores the default of what its parent handles. `ignored` have no effect."""
        for signum in self._handled.union(ignored):  # none, if its parent runs off the main thread
            handler = _signal.getsignal(signum)
            if handler is have_no_effect and signum in ignored:
                continue  # its parent is a mold, which has it so
            default = signal.default_int_handler if signum == signal.SIGINT else _signal.SIG_DFL
            if _is_programs(handler):
                self._replaced[signum] = handler
            # Not signal.signal: it looks for an enum member that is the previous handler, finds none, and
            # makes and drops an error, which costs the child some ten pages of memory.
            _signal.signal(signum, have_no_effect if signum in ignored else default)
            _signal.siginterrupt(signum, False)

    def bind(self, signum: int, session: Recipient, event: str) -> None:
        """Replaces the event of that session for that signal; other sessions keep theirs."""
        if self._loop is not None:
            self._handle(self._loop, signum, self._received)  # first: it may be refused
        self._bound[signum] = [*self._others(signum, session), (session, event)]

    def unbind(self, signum: int, session: Recipient) -> None:
        """Nothing happens if that session has not bound that signal."""
        if signum not in self._bound:
            return
        if others := self._others(signum, session):
            self._bound[signum] = others
        else:
            del self._bound[signum]
        self._apply(signum)

    def bind_default(self, signum: int, session: Recipient, event: str) -> None:
        """Calls an event for a signal that nothing else handles: no session binds it, and the program has no
        handler of its own. It is no binding: a session is not kept for it.

        Of several sessions the first one is called. Raises what `bind` raises.
        """
        assert self._loop is not None
        if signum not in self._handled:
            if signal.getsignal(signum) is not signal.SIG_DFL:
                return
            self._handle_default(self._loop, signum)
        self._defaults.setdefault(signum, []).append((session, event))

    def set_aside(self, signum: int) -> None:
        """Gives a signal its default action until it is bound. A handler of the program counts as replaced by
        that binding, in children too.
        """
        handler = _signal.getsignal(signum)
        if callable(handler):
            if _is_programs(handler):
                self._replaced[signum] = handler
            _signal.signal(signum, _signal.SIG_DFL)

    def program_handles(self, signum: int) -> bool:
        """Whether the program has a handler of its own for that signal, also if a binding has replaced it."""
        by_loop = self._loop is not None and self._loop.program_signal(signum) is not None
        return by_loop or signum in self._replaced or _is_programs(_signal.getsignal(signum))

    def share(self, signum: int) -> None:
        """Has the program's own handler of a bound signal called as well, for the first of the shared signals
        that comes.

        That is the one that the binding has replaced, in this process or in a parent, or that was set since.
        Nothing happens if the signal is not bound.
        """
        if signum not in self._handled or self._loop is None:
            return
        handler = _signal.getsignal(signum)
        if handler in (self._came, self._came_each):
            return  # another session has had it shared
        early = self._early.pop(signum, None)
        if early is not None and handler == self._came_early:
            self._set(signum, early[1])
        elif _is_programs(handler):
            self._handle(self._loop, signum, self._received)
        self._shared[signum] = _signal.getsignal(signum)
        if signum in self._replaced:
            self._set(signum, self._came)

    def tell_early(self, signum: int, function: Callable[[], object]) -> None:
        """Until the signal is shared, has `function` called each time that it comes, in the middle of other
        code, and then its events, unless the program sets a handler of its own. Nothing happens if the signal
        is not bound.
        """
        if signum in self._early:
            self._early[signum][0].append(function)
        elif signum in self._handled:
            self._early[signum] = [function], _signal.getsignal(signum)
            self._interrupt_by(signum, self._came_early)

    def tell_each(self, signum: int, function: Callable[[int], object]) -> None:
        """From now on has `function(signum)` called each time that the signal comes, in the middle of other
        code, and then its events. A signal that is to be shared is shared before. Nothing happens if it is
        not bound.
        """
        if signum in self._each and _signal.getsignal(signum) == self._came_each:
            self._each[signum][0].append(function)
        elif signum in self._handled:
            self._each[signum] = [function], _signal.getsignal(signum)
            self._interrupt_by(signum, self._came_each)

    @handles_signals
    def _came_each(self, signum: int, frame: FrameType | None) -> None:
        functions, handler = self._each[signum]
        for function in functions:
            function(signum)
        self._set(signum, handler)  # it may replace itself
        handler(signum, frame)
        self._each[signum] = functions, _signal.getsignal(signum)
        self._interrupt_by(signum, self._came_each)

    @handles_signals
    def _came_early(self, signum: int, frame: FrameType | None) -> None:
        early = self._early.pop(signum, None)
        if early is not None:  # None: the program keeps this handler, and calls it
            functions, loops = early
            self._set(signum, loops)
            for function in functions:
                function()
            loops(signum, frame)
            if _signal.getsignal(signum) == loops:
                self._early[signum] = early
                self._interrupt_by(signum, self._came_early)

    @handles_signals
    def _came(self, signum: int, frame: FrameType | None) -> None:
        """Called as soon as the signal comes, in the middle of other code, as the program's handler would be.

        A handler may restore what was set before it, and send the signal again. It is blocked meanwhile, and
        dropped.
        """
        loops = self._shared[signum]
        self._set(signum, loops)  # first: the signal may come again meanwhile
        function = self._replaced.pop(signum, None)
        if function is not None:
            self._drop_others(signum)  # before anything else: another of them may come meanwhile
        loops(signum, frame)
        if function is None:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
        try:
            self._call_program(signum, function, signum, frame)
        finally:
            self._set(signum, loops)
            while signal.sigtimedwait({signum}, 0) is not None:
                pass
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})

    def _call_program(self, signum: int, function: Callable[..., object], *args: Any) -> None:
        """Its exit is not this process's: what was begun is finished first."""
        try:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                function(*args)
        except Exception as error:
            name, loop = signal.Signals(signum).name, self._loop
            if loop is not None:  # later: the handler may have interrupted a line of the log
                text = "the application's handler of %s failed"
                loop.call_soon_threadsafe(partial(logger.error, text, name, exc_info=error))

    def _drop_others(self, signum: int) -> None:
        """The program hears once that it ends: Ctrl-C in a terminal sends SIGINT, and the manager SIGTERM."""
        for other in self._shared:
            if other != signum and self._loop is not None:
                self._replaced.pop(other, None)
                self._loop.remove_signal_handler(other)

    @staticmethod
    def _set(signum: int, handler: Handler) -> None:
        """A system call that the signal interrupts is restarted by the system."""
        _signal.signal(signum, handler)
        _signal.siginterrupt(signum, False)

    @staticmethod
    def _interrupt_by(signum: int, handler: Handler) -> None:
        """As `_set`, but a system call that blocks returns, so that the handler runs. The system would
        restart one that waits without a limit, for a lock or for data, and Python would hear of nothing.
        """
        _signal.signal(signum, handler)

    def drop(self, session: Recipient) -> None:
        """Unbinds every signal of one session, defaults too."""
        for signum in list(self._bound):
            self.unbind(signum, session)
        for signum, defaults in list(self._defaults.items()):
            defaults[:] = [pair for pair in defaults if pair[0] is not session]
            if not defaults:
                del self._defaults[signum]
                if self._is_ours(signum):
                    self._apply(signum)

    def _others(self, signum: int, session: Recipient) -> list[tuple[Recipient, str]]:
        return [pair for pair in self._bound.get(signum, ()) if pair[0] is not session]

    def _apply(self, signum: int) -> None:
        """Sets the handler that follows from the tables."""
        if self._loop is None:
            return
        if signum in self._bound:
            self._handle(self._loop, signum, self._received)
        elif signum in self._defaults:
            self._handle_default(self._loop, signum)
        else:
            self._unhandle(self._loop, signum)
            self._catch_interrupt()

    def _handle(self, loop: Loop, signum: int, callback: Callable[[int], None]) -> None:
        former = _signal.getsignal(signum)
        loop.bind_signal(signum, callback)
        self._handled.add(signum)
        if _is_programs(former):
            self._replaced[signum] = former

    def _unhandle(self, loop: Loop, signum: int) -> None:
        if signum in self._handled:
            loop.unbind_signal(signum)
        self._handled.discard(signum)
        self._shared.pop(signum, None)

    def _handle_default(self, loop: Loop, signum: int) -> None:
        self._handle(loop, signum, self._received)
        signal.signal(signum, self._ignore)

    def _received(self, signum: int) -> None:
        if signum in self._bound:
            for session, event in list(self._bound[signum]):
                self._deliver(session, event, (signum,))
        elif signum in self._defaults and self._is_ours(signum):
            self._deliver(*self._defaults[signum][0], (signum,))
            signal.signal(signum, self._ignore)
        if self._loop is not None and (callback := self._loop.program_signal(signum)) is not None:
            function, args = callback
            if signum in self._shared:
                self._loop.remove_signal_handler(signum)
                self._drop_others(signum)
            self._call_program(signum, function, *args)

    @handles_signals
    def _ignore(self, signum: int, _frame: object) -> None:
        """Ignores a signal until its event has run. Called as soon as it comes, in the middle of other code.

        In the background of a terminal (with `stty tostop`) each attempt to write there raises TTOU and
        fails, also the one that the event makes, until TTOU is ignored.
        """
        signal.signal(signum, signal.SIG_IGN)

    def _is_ours(self, signum: int) -> bool:
        """Whether the program has not replaced our handler by one of its own."""
        return signal.getsignal(signum) in (self._ignore, signal.SIG_IGN)

    def _catch_interrupt(self) -> None:
        """Takes Ctrl-C where it would raise KeyboardInterrupt: the program neither ignores nor handles it."""
        if self._loop is None or _signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        if threading.current_thread() is threading.main_thread():
            self._handle(self._loop, signal.SIGINT, self._interrupted)

    def _interrupted(self, _signum: int) -> None:
        if self._loop:
            self._unhandle(self._loop, signal.SIGINT)  # the next one interrupts an end that hangs
        self._interrupt()
