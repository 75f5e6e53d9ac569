"""The level of the log, changed while a pool runs.

The manager publishes it on the scoreboard, and sends a signal to each worker, which reads it there. A worker
that starts later reads it in its boot.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from prefork._engine import LOG_LEVEL
from prefork.kernel.fork_hooks import handles_signals
from prefork.pool.worker_signals import hear, hearing_kernel

if TYPE_CHECKING:
    from prefork._engine import Engine
    from prefork.kernel.kernel import Kernel

LEVELS = ("debug", "info", "warning", "error", "critical")

_logger = logging.getLogger("prefork")


def hear_level(kernel: Kernel) -> None:
    """Manager, before it forks: its workers take the level when they get the signal.

    Where they cannot (`hear`), running workers keep their level.
    """
    hear(kernel, LOG_LEVEL, _heard)


@handles_signals
def _heard(_signum: int, _frame: object) -> None:
    kernel = hearing_kernel()
    with contextlib.suppress(RuntimeError):  # it does not run any more
        if kernel is not None:
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
