"""Which session hears which signal, and who answers those that nobody hears.

The tables belong to one process. `attach` makes them real on a loop; bindings made before wait for that.
Handlers run in the loop, between callbacks, never in the middle of somebody's code.
"""

from __future__ import annotations

import signal
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.kernel.session import Session


EVERY = signal.valid_signals()


class Blocked:
    """Holds every signal back for a fork.

    One that reached the child while it still has its parent's self-pipe would be heard by the parent. Also
    for the start of a thread, which inherits what is held back: all but `but`.
    """

    def __init__(self, *but: int) -> None:
        self._held = EVERY.difference(but)

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


class Signals:
    """The signals of one kernel. It is true while any is bound.

    `deliver` runs an event of a session; `interrupt` is what Ctrl-C does where nobody bound SIGINT.
    """

    def __init__(
        self, deliver: Callable[[Session, str, tuple[int]], None], interrupt: Callable[[], None]
    ) -> None:
        self._deliver = deliver
        self._interrupt = interrupt
        self._bound: dict[int, list[tuple[Session, str]]] = {}
        self._answers: dict[int, list[tuple[Session, str]]] = {}
        self._heard: set[int] = set()
        self._loop: AbstractEventLoop | None = None

    def __bool__(self) -> bool:
        return bool(self._bound)

    def attach(self, loop: AbstractEventLoop) -> None:
        """Handles the signals on `loop` from now on."""
        self._loop = loop
        for signum in self._bound:
            self._listen(signum)
        self._catch_interrupt()

    def discard(self, ignored: Collection[int]) -> None:
        """In a forked child: its parent's handlers are not its own. `ignored` signals stay unheard."""
        for signum in self._heard.union(ignored):  # off the main thread its parent heard none
            default = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, signal.SIG_IGN if signum in ignored else default)

    def bind(self, signum: int, session: Session, event: str) -> None:
        """Replaces the event of that session for that signal; other sessions keep theirs."""
        if self._loop is not None:
            self._hear(self._loop, signum, self._came, signum)  # first: it may be refused
        self._bound[signum] = [*self._others(signum, session), (session, event)]

    def unbind(self, signum: int, session: Session) -> None:
        """Nothing happens if that session has not bound that signal."""
        if signum not in self._bound:
            return
        if others := self._others(signum, session):
            self._bound[signum] = others
        else:
            del self._bound[signum]
        self._listen(signum)

    def answer(self, signum: int, session: Session, event: str) -> None:
        """Has an event called for a signal only while nobody else hears it: no session bound it, and the
        program has no handler of its own. It is no binding: a kernel does not wait for it.

        Of several sessions the first one answers. Raises what `bind` raises.
        """
        assert self._loop is not None
        if signum not in self._heard:
            if signal.getsignal(signum) is not signal.SIG_DFL:
                return
            self._stand_in(self._loop, signum)
        self._answers.setdefault(signum, []).append((session, event))

    def drop(self, session: Session) -> None:
        """Unbinds every signal of one session; it answers none any more, either."""
        for signum in list(self._bound):
            self.unbind(signum, session)
        for signum, answers in list(self._answers.items()):
            answers[:] = [pair for pair in answers if pair[0] is not session]
            if not answers:
                del self._answers[signum]
                if self._is_ours(signum):
                    self._listen(signum)

    def _others(self, signum: int, session: Session) -> list[tuple[Session, str]]:
        return [pair for pair in self._bound.get(signum, ()) if pair[0] is not session]

    def _listen(self, signum: int) -> None:
        if self._loop is None:
            return
        if signum in self._bound:
            self._hear(self._loop, signum, self._came, signum)
        elif signum in self._answers:
            self._stand_in(self._loop, signum)
        else:
            self._unhear(self._loop, signum)
            self._catch_interrupt()

    def _hear(self, loop: AbstractEventLoop, signum: int, callback: Callable[..., None], *args: int) -> None:
        loop.add_signal_handler(signum, callback, *args)
        self._heard.add(signum)

    def _unhear(self, loop: AbstractEventLoop, signum: int) -> None:
        loop.remove_signal_handler(signum)
        self._heard.discard(signum)

    def _came(self, signum: int) -> None:
        if signum in self._bound:
            for session, event in list(self._bound[signum]):
                self._deliver(session, event, (signum,))
        elif signum in self._answers and self._is_ours(signum):
            self._deliver(*self._answers[signum][0], (signum,))
            signal.signal(signum, self._ignore)

    def _stand_in(self, loop: AbstractEventLoop, signum: int) -> None:
        self._hear(loop, signum, self._came, signum)
        signal.signal(signum, self._ignore)

    def _ignore(self, signum: int, _frame: object) -> None:
        """Ignores a signal until it is answered. Called as soon as it comes, whatever is being done.

        In the background of a terminal (with `stty tostop`) each attempt to write there is a TTOU and fails,
        also that to write the answer, until TTOU is ignored.
        """
        signal.signal(signum, signal.SIG_IGN)

    def _is_ours(self, signum: int) -> bool:
        """Whether the program has put no handler of its own into the place of ours."""
        return signal.getsignal(signum) in (self._ignore, signal.SIG_IGN)

    def _catch_interrupt(self) -> None:
        """Takes Ctrl-C where it would raise KeyboardInterrupt; who ignores or handles it keeps that."""
        heard = threading.current_thread() is threading.main_thread()
        if self._loop and heard and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._hear(self._loop, signal.SIGINT, self._interrupted)

    def _interrupted(self) -> None:
        if self._loop:
            self._unhear(self._loop, signal.SIGINT)  # the next one interrupts an end that hangs
        self._interrupt()
