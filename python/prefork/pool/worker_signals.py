"""Signals that a manager sends to its workers, and that Python handles there.

Always: a process that does not handle one is not sent it, because it would end. A handler that the program
has set stays.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

_kernels: list[Kernel] = []
"""Of this process, the last one that was prepared."""


def hear(kernel: Kernel, signum: int, handler: Callable[[int, FrameType | None], object]) -> None:
    """Manager, before it forks: has the workers of this kernel call `handler`, which is marked as the
    product's (`handles_signals`).

    Nothing happens off the main thread, and where the program handles the signal.
    """
    former = signal.getsignal(signum)
    if former is handler or former == signal.SIG_DFL:
        with contextlib.suppress(ValueError):
            signal.signal(signum, handler)
            signal.siginterrupt(signum, False)
        _kernels[:] = [kernel]


def hearing_kernel() -> Kernel | None:
    """The kernel of this process; None if none hears signals."""
    return _kernels[0] if _kernels else None


def catches(pid: int, signum: int) -> bool:
    """Whether a process handles a signal, which would end it otherwise. True if the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return True
