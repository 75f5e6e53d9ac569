"""The end of a worker's process: what the application began there is ended, in the order of the interpreter.

That is: threads are joined, then the `atexit` functions run, then its child processes end. Always: it takes
no longer than it may; what is stuck is left.

It must know no server and no request.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType

from prefork.kernel.fork_hooks import handles_signals
from prefork.server.startup import AGAIN_S

logger = logging.getLogger("prefork.worker")

LEAST_S = 0.25
"""The time that each step has, even if nothing is left."""

LOOP_S = 0.5
"""The loop limits its own steps. Only code that blocks it for so much longer is interrupted."""

POLL_S = 0.005

_inherited: list[object] = []
"""Never freed: in a child that would write to memory that it shares."""


def forget_inherited(*, keeps_atexit: bool) -> None:
    """At the beginning of a forked worker: what its manager registered for its own end is the manager's.

    `keeps_atexit`: but for its `atexit` functions, which every worker runs too.
    """
    if not keeps_atexit:
        atexit._clear()
        if util := sys.modules.get("multiprocessing.util"):
            atexit.register(util._exit_function)  # it registers itself where it is imported
    if weakref.finalize._dirty:  # type: ignore[attr-defined]  # one was made since the last call
        for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            finalizer.atexit = False
        weakref.finalize._dirty = False  # type: ignore[attr-defined]
    if processes := sys.modules.get("multiprocessing.process"):
        _inherited.append(processes._children)
        processes._children = set()  # type: ignore[attr-defined]


class Ending:
    """`graceful_s` is how long the end may take if `begin` does not say otherwise."""

    def __init__(self, graceful_s: float) -> None:
        self._graceful_s = graceful_s
        self._ends_at: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._ends_at is not None

    def begin(self, left_s: float) -> None:
        """It has so many seconds from now on. A function that is stuck then ends with TimeoutError."""
        self._ends_at = time.monotonic() + left_s
        self._limit_step(LOOP_S)

    def finish(self) -> None:
        """The loop is closed: ends the rest."""
        if self._ends_at is None:
            self.begin(self._graceful_s)
        self._run("threads", threading._shutdown)  # type: ignore[attr-defined]
        self._run("atexit functions", atexit._run_exitfuncs)
        self._run("finalizers", weakref.finalize._exitfunc)  # type: ignore[attr-defined]
        signal.setitimer(signal.ITIMER_REAL, 0)
        end_children(self._left_s)

    @property
    def _left_s(self) -> float:
        assert self._ends_at is not None
        return max(self._ends_at - time.monotonic(), LEAST_S)

    def _run(self, what: str, step: Callable[[], object]) -> None:
        try:
            self._limit_step()
            with _unraisable_timeout():
                step()
        except TimeoutError:
            logger.warning("%s of the application did not end within graceful_timeout", what)
        except BaseException:
            logger.exception("the end of the application's %s failed", what)

    def _limit_step(self, more_s: float = 0.0) -> None:
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._left_s + more_s, AGAIN_S)


class _StepTimeout(TimeoutError):
    """Interrupts a step."""


@contextlib.contextmanager
def _unraisable_timeout() -> Iterator[None]:
    """Raises the `_StepTimeout` that a step would only have printed, as CPython 3.13 does where it waits for
    threads.
    """
    caught: list[BaseException] = []

    def catch(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, _StepTimeout):
            caught.append(unraisable.exc_value)
        else:
            printed(unraisable)

    printed, sys.unraisablehook = sys.unraisablehook, catch
    try:
        yield
    finally:
        sys.unraisablehook = printed
    if caught:
        raise caught[0]


@handles_signals
def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise _StepTimeout("it did not end within graceful_timeout")


def end_children(within_s: float) -> None:
    """Ends the child processes that are in the process group of this one, by SIGTERM, and after `within_s` by
    SIGKILL. What is to outlive its worker has a session or a group of its own.
    """
    pids = [pid for pid in live_children() if _is_of_group(pid)]
    pids = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + within_s
    while (pids := [pid for pid in pids if not _has_ended(pid)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, signum: int) -> bool:
    """Signals a child, which nothing has waited for yet: no other process has its pid. False: it has ended,
    or is another user's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)
        return True
    return False


def live_children() -> list[int]:
    """The children of this process that run, but for those of `multiprocessing` that end by themselves,
    after it.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                found += map(int, file.read().split())
    own = {
        getattr(getattr(sys.modules.get(f"multiprocessing.{module}"), name, None), attribute, None)
        for module, name, attribute in (
            ("resource_tracker", "_resource_tracker", "_pid"),
            ("forkserver", "_forkserver", "_forkserver_pid"),
        )
    }
    return [pid for pid in found if pid not in own and not _has_ended(pid)]


def _is_of_group(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getpgid(pid) == os.getpgrp()
    return False


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True
