"""Which session handles which signal, and what handles a signal that no session binds.

The tables belong to one process. `attach` makes them real on a loop; bindings made before wait for that.
Events run in the loop, between callbacks, never in the middle of other code.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` is made of it
import signal
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Collection
from typing import Any

from prefork.kernel.events import Recipient
from prefork.kernel.fork_hooks import handles_signals


@handles_signals
def have_no_effect(_signum: int, _frame: object) -> None:
    """The handler of a signal that is for another process. Not SIG_IGN: the programs that this process starts
    would inherit that, and hear no Ctrl-C.
    """


class Signals:
    """The signals of one kernel.

    `deliver` runs an event of a session; `interrupt` is what Ctrl-C does if SIGINT is not bound.
    """

    def __init__(
        self, deliver: Callable[[Any, str, tuple[int]], None], interrupt: Callable[[], None]
    ) -> None:
        self._deliver = deliver
        self._interrupt = interrupt
        self._bound: dict[int, list[tuple[Recipient, str]]] = {}
        self._defaults: dict[int, list[tuple[Recipient, str]]] = {}
        self._handled: set[int] = set()  # those that have our handler on the loop
        self._loop: AbstractEventLoop | None = None

    def has(self, session: Recipient) -> bool:
        """Whether that session has bound a signal."""
        return any(pair[0] is session for pairs in self._bound.values() for pair in pairs)

    def attach(self, loop: AbstractEventLoop) -> None:
        """Handles the signals on `loop` from now on."""
        self._loop = loop
        for signum in self._bound:
            self._apply(signum)
        self._catch_interrupt()

    def discard(self, ignored: Collection[int]) -> None:
        """In a forked child: restores the default of what its parent handles. `ignored` have no effect."""
        for signum in self._handled.union(ignored):  # none, if its parent runs off the main thread
            default = signal.default_int_handler if signum == signal.SIGINT else _signal.SIG_DFL
            # Not signal.signal: it looks for an enum member that is the previous handler, finds none, and
            # makes and drops an error, which costs the child some ten pages of memory.
            _signal.signal(signum, have_no_effect if signum in ignored else default)
            _signal.siginterrupt(signum, False)

    def bind(self, signum: int, session: Recipient, event: str) -> None:
        """Replaces the event of that session for that signal; other sessions keep theirs."""
        if self._loop is not None:
            self._handle(self._loop, signum, self._received, signum)  # first: it may be refused
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
            self._handle(self._loop, signum, self._received, signum)
        elif signum in self._defaults:
            self._handle_default(self._loop, signum)
        else:
            self._unhandle(self._loop, signum)
            self._catch_interrupt()

    def _handle(
        self, loop: AbstractEventLoop, signum: int, callback: Callable[..., None], *args: int
    ) -> None:
        loop.add_signal_handler(signum, callback, *args)
        self._handled.add(signum)

    def _unhandle(self, loop: AbstractEventLoop, signum: int) -> None:
        loop.remove_signal_handler(signum)
        self._handled.discard(signum)

    def _handle_default(self, loop: AbstractEventLoop, signum: int) -> None:
        self._handle(loop, signum, self._received, signum)
        signal.signal(signum, self._ignore)

    def _received(self, signum: int) -> None:
        if signum in self._bound:
            for session, event in list(self._bound[signum]):
                self._deliver(session, event, (signum,))
        elif signum in self._defaults and self._is_ours(signum):
            self._deliver(*self._defaults[signum][0], (signum,))
            signal.signal(signum, self._ignore)

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
        is_main = threading.current_thread() is threading.main_thread()
        if self._loop and is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._handle(self._loop, signal.SIGINT, self._interrupted)

    def _interrupted(self) -> None:
        if self._loop:
            self._unhandle(self._loop, signal.SIGINT)  # the next one interrupts an end that hangs
        self._interrupt()
