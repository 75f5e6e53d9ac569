"""The file of the access log was renamed: the workers open it again.

They notice it by themselves when they write. USR1 to the manager has also those do it that have nothing to
write, so that the former file takes no room on the disk any more.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prefork._engine import REOPEN_LOG
from prefork.kernel.fork_hooks import handles_signals
from prefork.pool.worker_signals import hear, hearing_kernel

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel


def hear_reopening(kernel: Kernel) -> None:
    """Manager, before it forks: its workers open the file again when they get the signal."""
    hear(kernel, REOPEN_LOG, _heard)


@handles_signals
def _heard(_signum: int, _frame: object) -> None:
    kernel = hearing_kernel()
    with contextlib.suppress(RuntimeError):  # it does not run any more
        if kernel is not None:
            kernel.engine.reopen_log()
