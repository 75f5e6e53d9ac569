"""What the system says of a worker's process: its CPU time and its memory.

Always: the pid comes from the scoreboard, where a worker may have written any number. So it counts only for a
child of the manager. None stands for what the system does not tell, as to another user.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from prefork.pool import memory

PROC = Path("/proc")
_PARENT, _USER, _SYSTEM, _PAGES = 1, 11, 12, 21
"""Places in /proc/PID/stat behind the name of the program (proc(5))."""


class Usage(NamedTuple):
    """CPU time in seconds, memory in bytes: `rss` with all that it shares, `pss` with its part of that."""

    cpu_s: float | None = None
    rss: int | None = None
    pss: int | None = None


def usage(pid: int, manager: int, *, pss: bool = False) -> Usage:
    """That of a process, if it is a child of `manager`. `pss` takes some milliseconds for each GiB."""
    if pid <= 0:
        return Usage()
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
        fields = stat[stat.rindex(b")") + 1 :].split()
        if int(fields[_PARENT]) != manager:
            return Usage()
        ticks = int(fields[_USER]) + int(fields[_SYSTEM])
        pages = int(fields[_PAGES])
    except (OSError, ValueError, IndexError):
        return Usage()
    return Usage(
        cpu_s=round(ticks / os.sysconf("SC_CLK_TCK"), 3),
        rss=pages * os.sysconf("SC_PAGE_SIZE"),
        pss=memory.proportional(pid) if pss else None,
    )
