"""What happens around each fork of this process, above all around those that the kernel does not make itself.

The application may fork: `os.fork`, `multiprocessing`, `pty.fork`, on any thread. Its child has a copy of all
that the parent serves with. Always: such a child has the default handling of the signals that the product
handles, a signal to it never reaches the parent, and it holds none of the descriptors that its parent serves
with. What else it does is the application's, until its code returns to the product (`Kernel.abandon`).
No child finds the log or a standard stream in the middle of a line that a thread of its parent wrote.

Programs that are started (`subprocess`) need none of this: their exec does the same.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members, see signals.py
import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from prefork._engine import BlockedSignals, tie_next_fork
from prefork.logs import handler_locks
from prefork.logs.console import renew_streams

H = TypeVar("H", bound=Callable[..., Any])

_holders: dict[int, tuple[object, Callable[[asyncio.Task[Any] | None], object]]] = {}
_handlers: list[Callable[..., Any]] = []
_of_program: list[int] = []
"""The process in which `restore_in_children` was called."""
_thread = threading.local()
"""Of the thread that forks: `locks` of the log that it has; `is_kernel` and `tied_to` while the kernel forks;
`blocked` and `task` around other forks."""


def hold(owner: object, let_go: Callable[[asyncio.Task[Any] | None], object]) -> None:
    """Has `let_go(task)` called in each child that the application forks, until `release(owner)`.

    `task` is the asyncio task that forked, if one did.
    """
    _holders[id(owner)] = owner, let_go


def kernel_runs() -> bool:
    """Whether a kernel runs in this process."""
    return bool(_holders)


def release(owner: object) -> None:
    """Ends what `hold` began. Nothing happens if it did not."""
    _holders.pop(id(owner), None)


def restore_in_children() -> None:
    """Has signals restored in children of this process also while no kernel runs."""
    _of_program[:] = [os.getpid()]


def handles_signals(function: H) -> H:
    """Marks a handler of signals as the product's: a child that the application forks does not have it."""
    _handlers.append(function)
    return function


def fork(make: Callable[[], int] | None = None, *, tied_to: int | None = None) -> int:
    """A fork of the kernel: signals are left to it, because its child is a worker. Otherwise as `os.fork`, or
    `make`, which runs what is registered with `os.register_at_fork` as that does.

    `tied_to`: the child dies with that process, also while functions of the application run in it, such as
    those of `os.register_at_fork` (`tie_next_fork`).
    """
    _thread.is_kernel = True
    _thread.tied_to = tied_to
    try:
        return (make or os.fork)()
    finally:
        _thread.is_kernel = False
        _thread.tied_to = None


def _before() -> None:
    """Takes the locks of the log. Blocks signals until the child has its own handling of them."""
    is_kernel = getattr(_thread, "is_kernel", False)
    if not (is_kernel or _holders or os.getpid() in _of_program):
        return
    _thread.locks = handler_locks.take()
    if is_kernel:
        # Here: of all such functions this one runs last, and none of the application forks after it.
        if _thread.tied_to is not None:
            tie_next_fork(_thread.tied_to)
        return
    _thread.task = asyncio.current_task() if asyncio._get_running_loop() is not None else None
    _thread.blocked = BlockedSignals()
    _thread.blocked.__enter__()


def _after_in_parent() -> None:
    _thread.tied_to = None
    _give_back_locks()
    if (blocked := _take_blocked()) is not None:
        blocked.__exit__(None, None, None)


def _after_in_child() -> None:
    if _give_back_locks():
        renew_streams()
    if (blocked := _take_blocked()) is None:
        return
    try:
        restore_signals()
        for _, let_go in list(_holders.values()):
            let_go(_thread.task)
        _holders.clear()
    finally:
        blocked.__exit__(None, None, None)


def _give_back_locks() -> bool:
    """Returns whether there were other threads at the fork."""
    locks = getattr(_thread, "locks", None)
    if locks is None:
        return False
    handler_locks.give_back(locks)
    _thread.locks = None
    return True


def _take_blocked() -> BlockedSignals | None:
    blocked: BlockedSignals | None = getattr(_thread, "blocked", None)
    _thread.blocked = None
    return blocked


def restore_signals() -> None:
    """In a child: restores the default of each signal that the product or a loop handles.

    Handlers of the application stay, as after any fork.
    """
    signal.set_wakeup_fd(-1)
    for signum in range(1, signal.NSIG):
        handler = _signal.getsignal(signum)
        if callable(handler) and is_ours(handler):
            restore_default(signum)


def restore_default(signum: int) -> None:
    """Gives a signal the handling that the interpreter begins with."""
    _signal.signal(signum, _signal.default_int_handler if signum == signal.SIGINT else _signal.SIG_DFL)


def is_ours(handler: Callable[..., Any]) -> bool:
    """Whether a handler of a signal is the product's or a loop's, and not one of the program."""
    # A loop's handler only has the signal's number written to the loop. uvloop's is a method of the loop.
    is_loops = isinstance(getattr(handler, "__self__", None), asyncio.AbstractEventLoop)
    function = getattr(handler, "__func__", handler)
    return is_loops or any(function is known for known in _handlers)


handles_signals(asyncio.unix_events._sighandler_noop)  # type: ignore[attr-defined]
os.register_at_fork(before=_before, after_in_child=_after_in_child, after_in_parent=_after_in_parent)
