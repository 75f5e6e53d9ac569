"""One process's asyncio loop, and in it one process's engine.

`Loop` is what the kernel knows of it. `EngineLoop` is the default: it waits inside the engine, so a request
costs no turn of asyncio. `prefork.kernel.uv` has the other one.

A loop owns the engine and the selector that joins the two, and ends in one of three ways: `close` at the end
of a process's work; in a child that was forked with a copy of its parent's loop, `discard` if the kernel
forked it, and `abandon` if the application did.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members, see signals.py
import _socket
import asyncio
import contextlib
import logging
import os
import signal
import sys
import warnings
from abc import ABCMeta, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVarTuple

from prefork._engine import Engine
from prefork.kernel.fork_hooks import is_ours, restore_default
from prefork.kernel.selector import EngineSelector

logger = logging.getLogger("prefork.kernel")

Ts = TypeVarTuple("Ts")
Callback: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]
"""A function and its arguments."""


class SignalCallbacks(NamedTuple):
    """What a signal calls, by its number."""

    bound: dict[int, Callback]
    """Of the kernel."""
    program: dict[int, Callback]


class Loop(asyncio.AbstractEventLoop, metaclass=ABCMeta):
    """An asyncio loop that serves what its `engine` listens to."""

    engine: Engine
    _ends_by_s: float | None = None  # on its own clock
    _kept: frozenset[int] | None = None  # the signals that had a handler when the end began
    _left: ClassVar[list[asyncio.Task[Any]]] = []
    """Tasks that did not end in time. Never freed: that would run them again, and may wait for a thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # One attribute: CPython 3.11 looks attributes up slowly if an object has some 30, and asyncio's loop
        # has 24. Each turn looks up many.
        self._signals = SignalCallbacks({}, {})

    def when_broken(self, function: Callable[[str, bool], object]) -> None:
        """Has `function(what, turns)` called when the program has made a descriptor of it unusable.

        `turns` says whether requests can still finish.
        """
        self.engine.when_broken(function)

    # --- signals: a handler of the program does not replace the kernel's ------------------------------------

    def _handle_by(self, signum: int, callback: Callable[..., object], *args: Any) -> None:
        """Has the loop call `callback` when the signal comes."""
        super().add_signal_handler(signum, callback, *args)

    def bind_signal(self, signum: int, callback: Callable[[int], object]) -> None:
        """Calls `callback(signum)` when the signal comes. Raises what `add_signal_handler` raises."""
        self._handle_by(signum, callback, signum)
        self._signals.bound[signum] = callback, (signum,)

    def unbind_signal(self, signum: int) -> None:
        """Ends what `bind_signal` began. The program's handler, if it has one, is called by asyncio again."""
        del self._signals.bound[signum]
        if self._kept is not None:
            return
        super().remove_signal_handler(signum)
        if signum in self._signals.program:
            function, args = self._signals.program[signum]
            self._handle_by(signum, function, *args)

    def program_signal(self, signum: int) -> Callback | None:
        """What the program has given to `add_signal_handler`: a function and its arguments."""
        return self._signals.program.get(signum)

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """As asyncio's. Of a signal that the kernel has bound, the kernel calls `callback`."""
        self._handle_by(sig, callback, *args)  # first: it checks them
        self._signals.program[sig] = callback, args
        if sig in self._signals.bound:
            function, own = self._signals.bound[sig]
            self._handle_by(sig, function, *own)

    def remove_signal_handler(self, sig: int) -> bool:
        """As asyncio's. What the kernel has bound stays bound."""
        was_there = self._signals.program.pop(sig, None) is not None
        if self._kept is not None or sig in self._signals.bound:
            return was_there
        return super().remove_signal_handler(sig)

    def keep_signals(self) -> None:
        """For a run that ends: each signal keeps its handler, also when it is unbound and when the loop is
        closed. It has no effect then. By default SIGTERM would cut short what the process still has to do.
        """
        if self._kept is None:
            self._kept = frozenset((*self._signals.bound, *self._signals.program))

    def give_signals_back(self) -> None:
        """After `close`, in a program that goes on: restores the default of the signals that were kept."""
        for signum in self._kept or ():
            handler = _signal.getsignal(signum)
            if handler == _signal.SIG_IGN or (callable(handler) and is_ours(handler)):
                restore_default(signum)

    def close(self) -> None:
        """Closes the loop, and gives the signals back if they are not kept: asyncio calls
        `remove_signal_handler` for each.
        """
        self._signals.bound.clear()
        super().close()

    @abstractmethod
    def is_watching(self) -> bool:
        """Whether a descriptor is registered. asyncio's own self-pipe counts only if a signal waits in it."""

    @abstractmethod
    def discard(self) -> None:
        """In a forked child: closes the parent's descriptors without touching what the parent still uses.
        Once: a second call does nothing.

        The owner does not close the loop, but keeps it as long as the process lives, with every task and
        timer in it. To free a suspended coroutine would run its `finally` blocks once more, in the wrong
        process; to close the loop would write to pages that the child shares with its parent.
        """

    @abstractmethod
    def abandon(self, returned: Callable[..., object]) -> None:
        """In a child that the application forked: as `discard`, while the loop may be running.

        `returned()` is called when the application's code has returned to the loop, or has it call something
        from another thread. It must not return: what is scheduled is the parent's.
        """

    @property
    def left(self) -> Sequence[asyncio.Task[Any]]:
        """The tasks of this process that did not end in time."""
        return self._left

    def finish_tasks(self, *, cancel: bool) -> None:
        """Runs until every task is done. `cancel` cancels them first."""
        tasks = asyncio.all_tasks(self).difference(self._left)
        if cancel:
            for task in tasks:
                task.cancel()
        if tasks and (pending := self._wait(tasks)):
            logger.warning("%d tasks of the application did not end in time: not waiting for them", pending)

    def finish_executor(self) -> None:
        """Ends the asynchronous generators that are suspended, then the threads of the default executor."""
        if self._wait({self.create_task(self.shutdown_asyncgens())}):
            logger.warning(
                "asynchronous generators of the application did not end in time: not waiting for them"
            )
        # Threads that are left are logged where all threads are joined.
        self._wait({self.create_task(self.shutdown_default_executor())})

    def limit_end(self, within_s: float) -> None:
        """What the two methods above wait for has so long from now on. What does not end by then is left."""
        self._ends_by_s = self.time() + within_s

    def _wait(self, tasks: set[asyncio.Task[Any]]) -> int:
        """Returns how many of them are left."""
        left_s = None if self._ends_by_s is None else max(self._ends_by_s - self.time(), 0)
        _, pending = self.run_until_complete(asyncio.wait(tasks, timeout=left_s))
        self._left.extend(pending)
        return len(pending)


class EngineLoop(Loop, asyncio.SelectorEventLoop):
    """An ordinary asyncio loop whose `select` is a turn of `engine`."""

    _hears = True
    _closed = True  # until asyncio makes it: a loop that was refused a descriptor has nothing to close
    _discarded = False  # of the class, as the next one: see `Loop.__init__`
    _broken: Callable[[str, bool], object] | None = None

    def __init__(self, may_wait: Callable[[], bool] = lambda: True) -> None:
        self.engine = Engine()
        self._turns = EngineSelector(self.engine, may_wait)
        try:
            super().__init__(self._turns)
        except BaseException:
            self._discarded = True
            raise

    def when_broken(self, function: Callable[[str, bool], object]) -> None:
        super().when_broken(function)
        self._broken = function

    def is_watching(self) -> bool:
        return len(self._turns.get_map()) > 1 or self._turns.is_ready()

    def poll_without_running_loop(self) -> None:
        """What the engine calls sees no running loop: it is synchronous code, which expects none."""
        self._turns.poll_without_running_loop(self)
        self.engine.deliver(None)  # events expect a running loop

    def _handle_by(self, signum: int, callback: Callable[..., object], *args: Any) -> None:
        super()._handle_by(signum, callback, *args)
        _signal.signal(signum, self._hear)
        signal.siginterrupt(signum, False)

    def _hear(self, signum: int, _frame: object) -> None:
        """Handles a signal that is written to another descriptor than this loop's, or to none.

        asyncio hears of signals through one descriptor of the process. A loop that synchronous code runs in
        this thread may take it, and has none in its place at its end.
        """
        if not self._hears:
            return  # the loop closes, or is closed
        own = self._csock.fileno()  # type: ignore[attr-defined]
        try:
            former = signal.set_wakeup_fd(own)
            if former != own:
                self.call_soon_threadsafe(self._handle_signal, signum)  # type: ignore[attr-defined]
            if former not in (own, -1):  # the other loop still runs
                signal.set_wakeup_fd(former)
        except OSError as error:
            self._lose_wakeups(error)

    def _read_from_self(self) -> None:
        """As asyncio has it, but the end of the stream, which would wake the loop for ever, is reported."""
        with contextlib.suppress(BlockingIOError):
            while data := self._ssock.recv(4096):  # type: ignore[attr-defined]
                self._process_self_data(data)  # type: ignore[attr-defined]
            self._lose_wakeups("the end of the stream")

    def _lose_wakeups(self, why: object) -> None:
        """No signal is heard any more, not even SIGTERM."""
        if self._broken is not None:
            self._broken(f"the pipe that signals come through: {why}", False)

    def bind_signal(self, signum: int, callback: Callable[[int], object]) -> None:
        """Does what asyncio does for a handler, without its checks of what a program may give. They are code
        of five modules, which each worker would run once, in memory of its own.
        """
        try:
            signal.set_wakeup_fd(self._csock.fileno())  # type: ignore[attr-defined]
            _signal.signal(signum, self._hear)
            signal.siginterrupt(signum, False)
        except (ValueError, OSError):
            super().bind_signal(signum, callback)  # it tells what is wrong
            return
        self._signals.bound[signum] = callback, (signum,)
        handlers: dict[int, asyncio.Handle] = self._signal_handlers  # type: ignore[attr-defined]
        handlers[signum] = asyncio.Handle(callback, (signum,), self)

    async def _make_subprocess_transport(self, *args: Any, **keywords: Any) -> Any:
        provide_child_watcher()
        return await super()._make_subprocess_transport(*args, **keywords)  # type: ignore[misc]

    def close(self) -> None:
        self._stop_wakeups()
        super().close()
        self.engine.close()

    def _stop_wakeups(self) -> None:
        """asyncio closes the pipe that signals are written to before it unsets it."""
        self._hears = False
        with contextlib.suppress(ValueError):  # off the main thread there is no such descriptor
            former = signal.set_wakeup_fd(-1)
            if not self.is_closed() and former != self._csock.fileno():  # type: ignore[attr-defined]
                signal.set_wakeup_fd(former)  # another loop's

    def is_closed(self) -> bool:
        return self._discarded or super().is_closed()

    def discard(self) -> None:
        if not self._discarded:
            self._discarded = True
            signal.set_wakeup_fd(-1)
            self._close_copies()

    def _close_copies(self) -> None:
        self._turns.discard()
        self.engine.discard()
        for end in (self._ssock, self._csock):  # type: ignore[attr-defined]  # asyncio's self-pipe
            os.close(_socket.socket.detach(end))

    def reopen(self) -> Engine:
        """In a forked child: makes a loop usable that its parent has made, and has not run.

        It gets an engine and descriptors of its own. All else it has already, in memory that is shared with
        other children. To make a loop in each of them would cost more. Returns the former engine, which is to
        be kept: to free it would write to that memory. Raises OSError.
        """
        former, self.engine = self.engine, Engine()
        here: _socket.socket = self._ssock  # type: ignore[attr-defined]
        ends = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        for end, copy in zip(ends, (here, self._csock), strict=True):  # type: ignore[attr-defined]
            os.dup2(end.fileno(), copy.fileno(), False)
            end.close()
        self._turns.reopen(self.engine, here.fileno())
        return former

    def abandon(self, returned: Callable[..., object]) -> None:
        if not self._discarded:
            self._close_copies()
        self._turns.abandon(returned)
        self.call_soon_threadsafe = returned  # type: ignore[method-assign,assignment]
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        self._parents = [*ready, *self._scheduled]  # type: ignore[attr-defined]  # kept: to free one may run it
        self._scheduled.clear()  # type: ignore[attr-defined]
        # asyncio may be in the middle of them, and has counted them.
        nothing = asyncio.Handle(do_nothing, (), self)
        for place in range(len(ready)):
            ready[place] = nothing


def do_nothing(*_: object) -> None: ...


def provide_child_watcher() -> None:
    """Gives asyncio's policy a child watcher if it has none, as uvloop's.

    Before CPython 3.14 a loop of asyncio asks the policy who waits for its subprocesses. An application may
    have set another policy, with `uvloop.install()` for example, while this process runs its own loop.
    """
    if sys.version_info >= (3, 14):
        return
    policy = asyncio.get_event_loop_policy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            policy.get_child_watcher()
        except NotImplementedError:
            watcher = asyncio.DefaultEventLoopPolicy().get_child_watcher()
            policy.get_child_watcher = lambda: watcher  # type: ignore[method-assign]
