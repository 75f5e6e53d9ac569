"""What the pages of the admin listener see: the server, its manager and the report (manager).

It must not know HTTP or any page.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prefork.admin.pool_memory import PoolMemory
from prefork.pool.manager import Manager
from prefork.status import make_report

if TYPE_CHECKING:
    from prefork._engine import Scoreboard
    from prefork.pool.server import PreForkServer


MEMORY_S = 0.003
"""So long the memory of workers is read for a report: for four or so."""


class View:
    """Of one pool. It exists before the pool does, and goes on while that drains."""

    def __init__(self, server: PreForkServer) -> None:
        self.server = server
        self.at_end: list[Callable[[], object]] = []
        """Called once, when the listener ends: what a page does without clients is ended there."""
        self.kept: dict[type, object] = {}
        """What pages keep from one request to the next, by its class."""
        self._memory = PoolMemory(budget_s=MEMORY_S)

    @property
    def manager(self) -> Manager | None:
        """None until the server is open."""
        role = self.server.activity
        return role if isinstance(role, Manager) else None

    @property
    def board(self) -> Scoreboard | None:
        """The scoreboard; None if there is no pool."""
        manager = self.manager
        return None if manager is None or manager.glue is None else manager.resources.board

    def report(self, **parts: bool) -> dict[str, Any] | None:
        """What `prefork status` shows; None if there is no pool. `parts` are those of `snapshot`. The PSS of
        a worker is null until a report has had the time to read it.
        """
        manager, board = self.manager, self.board
        if manager is None or board is None:
            return None
        report = make_report(board, manager.about(), manager.glue, os.getpid(), **parts)
        if parts.get("processes", True):
            known = self._memory.known(manager.workers)
            for worker in report["workers"]:
                worker["pss"] = known.get(worker["pid"])
        return report
