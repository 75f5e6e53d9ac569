"""Reaps the orphans that a manager is given as PID 1 of a container, or as a child subreaper.

Always: it takes the status of no process that something else waits for: not of a worker, nor of a child that
the program had before its pool, nor of one that another thread started. Any other process has to be dead for
a whole interval: what waits for it has taken its status by then.
"""

from __future__ import annotations

import contextlib
import os
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Collection

from prefork._engine import adopts_orphans

INTERVAL_S = 1.0


class Orphans:
    """`workers()` are the children that the pool waits for. Does nothing in a process that adopts none."""

    def __init__(self, loop: AbstractEventLoop, workers: Callable[[], Collection[int]]) -> None:
        self._loop = loop
        self._workers = workers
        self._others = frozenset(_children())
        self._dead: set[int] = set()
        self._timer: TimerHandle | None = None
        if adopts_orphans():
            self._look_later()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(INTERVAL_S, self._look)

    def _look(self) -> None:
        ours = set(_children()) - self._others - set(self._workers())
        dead = {pid for pid in ours if _is_dead(pid)}
        for pid in dead & self._dead:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._dead = dead
        self._look_later()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _children() -> list[int]:
    """The children of the main thread, which gets the orphans; none if the system does not tell them."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def _is_dead(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False
