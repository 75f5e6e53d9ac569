"""What this process may use of the machine, and the size of a pool that follows from it.

Owns the files of cgroups, version 2 and 1, that hold limits. What limits a group limits those in it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = (CGROUPS, CGROUPS / "unified")
"""Where the groups of version 2 are: alone, or beside those of version 1."""

WORKERS_PER_CPU = 12
"""A worker that waits for a database or another server nine tenths of its time uses a tenth of a CPU."""

BYTES_PER_WORKER = 128 << 20
"""For a worker without `max_memory`."""

SHARE = 0.8
"""The part of the memory that is for workers. The rest is for the kernel's buffers and other processes."""

FEWEST = 2


class Machine(NamedTuple):
    """The CPUs, and the bytes of memory, each with the name of what limits it."""

    cpus: float
    cpus_by: str
    bytes: int
    bytes_by: str


class Computed(int):
    """A number of workers that was computed, and how."""

    why: str


def computed_workers(machine: Machine, max_memory: int) -> Computed:
    """How many workers a machine has room for. `max_memory` is the limit of one, or 0."""
    per_worker = max_memory or BYTES_PER_WORKER
    by_cpu = math.ceil(WORKERS_PER_CPU * machine.cpus)
    by_memory = int(SHARE * machine.bytes) // per_worker
    count = Computed(min(65535, max(FEWEST, min(by_cpu, by_memory))))
    count.why = (
        f"{by_cpu} for {machine.cpus:g} CPUs ({machine.cpus_by}), {WORKERS_PER_CPU} for each; "
        f"{by_memory} for {SHARE:.0%} of {machine.bytes >> 20} MiB of memory ({machine.bytes_by}), "
        f"{per_worker >> 20} MiB for each" + (" (max_memory)" if max_memory else "")
    )
    return count


def read_machine() -> Machine:
    """What this process may use now."""
    cpus = [(float(len(os.sched_getaffinity(0))), "sched_getaffinity")]
    cpus += [(quota, name) for name, quota in _limits("cpu", _cpu_quota)]
    sizes = [(int(size), name) for name, size in _limits("memory", _memory_limit)]
    total, available = _meminfo("MemTotal"), _meminfo("MemAvailable")
    sizes = [limit for limit in sizes if limit[0] < total] or [(available, "MemAvailable")]
    return Machine(*min(cpus), *min(sizes))


def cgroup() -> Path | None:
    """The directory of this process's cgroup, of version 2; None if there is none."""
    for root in UNIFIED:
        if (root / "cgroup.controllers").exists():
            return _directory(root, "")
    return None


def _limits(
    controller: str, limit_of: Callable[[Path], tuple[str, float] | None]
) -> Iterator[tuple[str, float]]:
    """The limits of this process's groups and of those that hold them: the file, and the limit."""
    first = [(CGROUPS / controller, controller), (CGROUPS / "cpu,cpuacct", "cpu,cpuacct")]
    for root, name in (*first, *((root, "") for root in UNIFIED)):
        group = _directory(root, name)
        while group != root.parent:
            if (found := limit_of(group)) is not None:
                yield found
            group = group.parent


def _directory(root: Path, controller: str) -> Path:
    """The directory of this process's group below `root`. In a container that is often the root itself."""
    groups = _read(PROC / "self" / "cgroup") or ""
    found = re.search(rf"^\d+:{re.escape(controller)}:/(.*)$", groups, re.MULTILINE)
    own = root / found[1] if found and ".." not in found[1] else root
    return own if own.is_dir() else root


def _cpu_quota(group: Path) -> tuple[str, float] | None:
    if found := re.match(r"(\d+) (\d+)$", _read(group / "cpu.max") or ""):
        return "cpu.max", int(found[1]) / int(found[2])
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return ("cpu.cfs_quota_us", quota / period) if quota and period else None


def _memory_limit(group: Path) -> tuple[str, float] | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        if limit := _number(group / name):
            return name, limit
    return None


def _meminfo(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _read(PROC / "meminfo") or "", re.MULTILINE)
    return 1024 * int(found[1]) if found else 1 << 30


def _number(path: Path) -> int | None:
    """A positive number. Anything else is no limit: `max`, -1."""
    text = (_read(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
