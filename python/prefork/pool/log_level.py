"""The level of the log, changed while a pool runs.

The manager publishes it on the scoreboard, and sends a signal to each worker, which reads it there. A worker
that starts later reads it in its boot. Always: a process that does not handle the signal is not sent it.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from typing import TYPE_CHECKING

from prefork._engine import LOG_LEVEL
from prefork.kernel.fork_hooks import handles_signals

if TYPE_CHECKING:
    from prefork._engine import Engine
    from prefork.kernel.kernel import Kernel

LEVELS = ("debug", "info", "warning", "error", "critical")

_logger = logging.getLogger("prefork")
_kernels: list[Kernel] = []
"""Of this process, the last one to run is the last one."""


def hear_level(kernel: Kernel) -> None:
    """Manager, before it forks: its workers take the level when they get the signal.

    Nothing happens off the main thread, and where the program handles the signal: running workers then keep
    their level.
    """
    former = signal.getsignal(LOG_LEVEL)
    if former is _heard or former == signal.SIG_DFL:
        with contextlib.suppress(ValueError):
            signal.signal(LOG_LEVEL, _heard)
            signal.siginterrupt(LOG_LEVEL, False)
        _kernels[:] = [kernel]


@handles_signals
def _heard(_signum: int, _frame: object) -> None:
    with contextlib.suppress(RuntimeError):  # it does not run any more
        for kernel in _kernels:
            take_level(kernel.engine)


def take_level(engine: Engine) -> None:
    """Worker: takes the level that the manager has published, if it has."""
    level = engine.pool_log_level
    if level and level != _logger.level:  # to set it costs each worker memory
        _logger.setLevel(level)


def set_level(name: str) -> int:
    """Manager: changes its own level, to one of LEVELS. Returns it as a number."""
    level: int = getattr(logging, name.upper())
    _logger.setLevel(level)
    return level


def catches(pid: int, signum: int) -> bool:
    """Whether a process handles a signal, which would end it otherwise. True if the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return True
