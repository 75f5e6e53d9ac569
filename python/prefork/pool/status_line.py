"""What a pool does, in one line for its service manager: `5 spare, 3 active of 16; 120 requests/s`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefork.pool.policy import State

if TYPE_CHECKING:
    from prefork._engine import Scoreboard
    from prefork.pool.overview import Overview


class StatusLine:
    """Counts the requests between two lines. A worker can write any number: that changes this line only."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._requests = 0
        self._since = 0.0

    def of(self, pool: Overview) -> str:
        """The line for this moment."""
        counts = f"{pool.count(State.SPARE)} spare, {pool.count(State.ACTIVE)} active"
        line = f"{counts} of {pool.limits.max_clients}"
        if draining := pool.count(State.DRAINING):
            line += f", {draining} draining"
        if not pool.keeps:
            return f"{line}; {pool.phase}"
        requests, passed_s = self._count(pool), pool.now - self._since
        rate = max(0, requests - self._requests) / passed_s if self._since and passed_s > 0 else 0.0
        self._requests, self._since = requests, pool.now
        return f"{line}; {rate:.0f} requests/s"

    def _count(self, pool: Overview) -> int:
        records = [self._board.read(slot.index) for slot in pool.slots]
        retired: int = self._board.header()["retired_requests"]
        return retired + sum(record["requests"] for record in records if record is not None)
