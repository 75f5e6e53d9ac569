"""Which workers stand still: their process is stopped, or in a wait of the kernel that does not end.

A worker that runs shows that on the scoreboard, at least each second while it has a request in flight. A slow
view does not stop that: the worker's guard is a thread of its own. So a worker is stuck if it has a request
and shows nothing for STUCK_S.

`Stillness` is plain data: the times are arguments. It measures how long it has looked on itself. A manager
that was stopped together with its workers, as by `docker pause`, finds old signs and must not act on them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_S = 1.0
"""How often the manager looks."""

STUCK_S = 4.0
"""Longer than a worker that runs lets wait for a sign, even on a busy machine."""

FUTEX = {"x86_64": "202", "aarch64": "98"}
"""The number of the system call that waits for a lock, by machine."""


@dataclass(slots=True)
class _Silence:
    """`sign` is the last one of a worker; for `seconds` it has been watched without another."""

    sign: int
    seconds: float = 0.0


class Stillness:
    """For how long each worker has shown nothing although it has a request in flight, by slot."""

    def __init__(self) -> None:
        self._silences: dict[int, _Silence] = {}
        self._looked_at: float | None = None

    def look(self, signs: Sequence[int], now: float) -> list[int]:
        """Takes the signs on the scoreboard (0: no request). Returns the slots that are found stuck now."""
        watched_s = 0.0 if self._looked_at is None else min(now - self._looked_at, 2 * LOOK_S)
        self._looked_at = now
        found = []
        for index, sign in enumerate(signs):
            silence = self._silences.get(index)
            if not sign:
                self._silences.pop(index, None)
            elif silence is None or silence.sign != sign:
                self._silences[index] = _Silence(sign)
            else:
                before, silence.seconds = silence.seconds, silence.seconds + watched_s
                if before < STUCK_S <= silence.seconds:
                    found.append(index)
        return found

    def forget(self, index: int) -> None:
        """The worker of a slot has ended."""
        self._silences.pop(index, None)

    def stuck(self, for_s: float = STUCK_S) -> list[int]:
        """The slots whose workers have shown nothing for so long."""
        return [index for index, silence in self._silences.items() if silence.seconds >= max(for_s, STUCK_S)]


def is_stuck(record: Mapping[str, Any], now: float) -> bool:
    """Whether a worker's entry on the scoreboard, read at `now`, is that of one that stands still.

    A worker without a guard shows nothing during a slow view. For that one the system's word decides.
    """
    if not record["in_flight"] or now - max(record["turned"], record["beat"]) < STUCK_S:
        return False
    return bool(record["beat"]) or is_stopped(record["pid"])


def waits_for_lock(pid: int) -> bool:
    """Whether the main thread of a process waits for a lock (futex(2)). False if that is not told."""
    try:
        number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except (OSError, IndexError):
        return False
    return number == FUTEX.get(os.uname().machine)


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, traced, or in a wait that no signal ends (proc(5))."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t", "D")
