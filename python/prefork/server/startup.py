"""The limit of a startup that goes on although its process has been told to end.

What it has begun is ended in good order, so it may come to its own end first, but within STARTUP_S. Code that
waits in the loop is cancelled then (`Serving`). Code that blocks the loop is interrupted here, by SIGALRM.
Always: what is interrupted is code of the application, and never the loop.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members, see signals.py
import logging
import time
from types import FrameType

from prefork.kernel.fork_hooks import handles_signals
from prefork.logs.escaping import show
from prefork.logs.logger import Lines

logger = logging.getLogger("prefork.server")

STARTUP_S = 3.0
"""The time that a startup has to end, if `graceful_timeout` is not less."""

LOOP_S = 0.5
"""The loop cancels what waits in it. Only code that blocks it for so much longer is interrupted."""

AGAIN_S = 0.05
"""From then on the alarm comes so often. Python may miss one, if code enters a system call at that moment."""

MACHINERY = ("asyncio.", "prefork.", "selectors.", "uvloop.")
"""The modules whose code is not the application's."""


def is_machinery(frame: FrameType | None) -> bool:
    """Whether a frame runs code that is not the application's. An exception there would harm the process."""
    return frame is None or f"{frame.f_globals.get('__name__', '')}.".startswith(MACHINERY)


class StartupInterrupted(BaseException):
    """What ends code that blocks a startup. It is no Exception: a loop that tries again ends as well."""


class StartupLimit:
    """`graceful_s` is the `graceful_timeout`."""

    def __init__(self, graceful_s: float) -> None:
        self._within_s = min(graceful_s, STARTUP_S)
        self._told_at: float | None = None
        self._is_over = False
        self._has_interrupted = False

    @property
    def since_s(self) -> float:
        """How long ago the process was told; 0 if the startup was over."""
        return 0.0 if self._told_at is None else time.monotonic() - self._told_at

    def begin(self, *, now: bool = False) -> None:
        """The process is told to end, gracefully or `now`. Its caller is the handler of a signal, in the
        middle of other code. Nothing happens if it was told so already.
        """
        if self._is_over or (self._told_at is not None and not now):
            return
        if self._told_at is None:
            self._told_at = time.monotonic()
        # It interrupts system calls: see `Signals`.
        _signal.signal(_signal.SIGALRM, self._interrupt)
        _signal.setitimer(_signal.ITIMER_REAL, LOOP_S + (0 if now else self._within_s), AGAIN_S)

    def end(self) -> None:
        """The startup is over, and is not interrupted any more."""
        was_over, self._is_over = self._is_over, True
        if self._told_at is not None and not was_over:
            _signal.setitimer(_signal.ITIMER_REAL, 0)

    def log(self, error: BaseException) -> None:
        """The startup has ended with `error`, after it was told to end: that is no failure to start."""
        if self._has_interrupted:
            logger.warning("interrupted the startup of the application, which did not end in time")
        else:
            logger.warning("the process ends, and the application's startup with it: %s", Lines(show(error)))

    @handles_signals
    def _interrupt(self, _signum: int, frame: FrameType | None) -> None:
        if self._is_over or is_machinery(frame):
            return
        _signal.setitimer(_signal.ITIMER_REAL, 0)  # what it does at its end is not interrupted
        self._has_interrupted = True
        raise StartupInterrupted("the process ends, and its startup did not end in time")
