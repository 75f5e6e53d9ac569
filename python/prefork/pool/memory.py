"""What the system says about memory: that of a process, and the pressure on it.

Owns the formats of /proc and of cgroups. Every function returns None for what the system does not tell. It
decides nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from prefork.config.machine import cgroup

PROC = Path("/proc")


def resident(pid: int) -> int | None:
    """The bytes of a process in memory and in swap, with all that it shares. Takes no lock of the process."""
    return _sum_of_kib(_read(PROC / str(pid) / "status"), "VmRSS", "VmSwap")


def proportional(pid: int) -> int | None:
    """As `resident`, but of what it shares with others only its part (PSS).

    It takes a lock of the process, and some milliseconds for each GiB. None also if this user may not know,
    as of a process that has changed its user, and of one that waits for a disk or a device: it may have that
    lock, and this process would wait as long.
    """
    return _sum_of_kib(_maps(pid), "Pss", "SwapPss")


def parts(pid: int) -> tuple[int, int] | None:
    """What `proportional` returns, and what the process shares with no other. Takes as long."""
    text = _maps(pid)
    pss = _sum_of_kib(text, "Pss", "SwapPss")
    private = _sum_of_kib(text, "Private_Clean", "Private_Dirty", "Private_Hugetlb", "Swap")
    return None if pss is None or private is None else (pss, private)


def _maps(pid: int) -> str | None:
    """The sums over all mappings of a process."""
    stat = _read(PROC / str(pid) / "stat") or ""
    if stat.rpartition(")")[2].split()[:1] == ["D"]:
        return None
    return _read(PROC / str(pid) / "smaps_rollup")


def _sum_of_kib(text: str | None, *names: str) -> int | None:
    found = re.findall(rf"^(?:{'|'.join(names)}):\s+(\d+) kB$", text or "", re.MULTILINE)
    return 1024 * sum(map(int, found)) if found else None


class Pressure(NamedTuple):
    """`share` is the percentage of the last ten seconds in which something waited for memory (PSI); `high` is
    how often the cgroup has ever reached its `memory.high`. None: the system does not tell.
    """

    share: float | None
    high: int | None

    @property
    def is_known(self) -> bool:
        return self != (None, None)


class PressureFiles:
    """The files that tell the pressure on memory: those of this process's cgroup, or of the machine."""

    def __init__(self) -> None:
        own = cgroup()
        stall = None if own is None else own / "memory.pressure"
        self._stall = stall if stall is not None and _read(stall) else PROC / "pressure" / "memory"
        self._events = None if own is None else own / "memory.events"

    def read(self) -> Pressure:
        share = re.search(r"^some avg10=([0-9.]+)", _read(self._stall) or "", re.MULTILINE)
        events = None if self._events is None else _read(self._events)
        high = re.search(r"^high (\d+)$", events or "", re.MULTILINE)
        return Pressure(float(share[1]) if share else None, int(high[1]) if high else None)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
