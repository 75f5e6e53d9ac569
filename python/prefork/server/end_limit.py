"""The limit of code that blocks the loop of a process without a pool, although it has been told to end.

A worker that is stuck is killed by its manager. This process has none, and no signal reaches its loop while
a call of the application blocks it. So that call is interrupted, by SIGALRM, when the time of the end is
over. Always: what is interrupted is code of the application, and never the loop.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members, see signals.py
import time
from types import FrameType

from prefork.kernel.fork_hooks import handles_signals
from prefork.server.startup import AGAIN_S, LOOP_S, is_machinery

LOOKS = 10
"""So often the limit looks for a moment at which code of the application itself runs. Then what it calls in
asyncio, such as a loop of its own, is interrupted as well."""

NEXT_S = 1.0
"""The time that a call which was interrupted has for its `finally` clauses, and that the next one has."""

KERNEL = "prefork.kernel."
"""The module of the frames below which the application runs."""


class EndInterrupted(BaseException):
    """What ends code that blocks the end of a process. No Exception: a loop that tries again ends as well."""


class EndLimit:
    """`graceful_s` is the `graceful_timeout`."""

    def __init__(self, graceful_s: float) -> None:
        self._graceful_s = graceful_s
        self._told_at: float | None = None
        self._is_over = False
        self._looks = 0

    @property
    def since_s(self) -> float:
        """How long ago the process was told; 0 if it was not."""
        return 0.0 if self._told_at is None else time.monotonic() - self._told_at

    def told(self, *, now: bool) -> None:
        """The process is told to end, gracefully or `now`, as at the second time. Its caller is the handler
        of a signal, in the middle of other code.
        """
        if self._is_over:
            return
        now = now or self._told_at is not None
        if self._told_at is None:
            self._told_at = time.monotonic()
        # It interrupts system calls: see `Signals`.
        _signal.signal(_signal.SIGALRM, self._interrupt)
        _signal.setitimer(_signal.ITIMER_REAL, LOOP_S + (0 if now else self._graceful_s), AGAIN_S)

    def end(self) -> None:
        """The server has ended: nothing is interrupted any more."""
        was_over, self._is_over = self._is_over, True
        if self._told_at is not None and not was_over:
            _signal.setitimer(_signal.ITIMER_REAL, 0)

    @handles_signals
    def _interrupt(self, _signum: int, frame: FrameType | None) -> None:
        if self._is_over:
            return
        if is_machinery(frame):
            self._looks += 1
            if self._looks < LOOKS or not _calls_loop(frame):
                return
        self._looks = 0
        _signal.setitimer(_signal.ITIMER_REAL, NEXT_S, AGAIN_S)  # the next call may block as well
        raise EndInterrupted("the process ends, and this call did not end in time")


def _calls_loop(frame: FrameType | None) -> bool:
    """Whether code of the application, called by our loop, is what called that code of asyncio."""
    while frame is not None and not frame.f_globals.get("__name__", "").startswith(KERNEL):
        if not is_machinery(frame):
            return True
        frame = frame.f_back
    return False
