"""What proc(5) tells about a process that is not a child of the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from support.waiting import wait_until


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended. A zombie has ended."""
    return state(pid) not in "ZX"


def wait_ended(pids: Iterable[int]) -> None:
    """Wait until none of these processes is alive."""
    pids = list(pids)
    wait_until(lambda: not any(map(alive, pids)), "the processes to end")


def state(pid: int) -> str:
    """The state as one letter, as proc(5) has it; X for a process that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def children(pid: int) -> list[int]:
    """The pids of the children; none if the process is gone."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
