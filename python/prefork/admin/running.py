"""A command that is being carried out: what it changes, what it waits for, and its progress (manager)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from prefork.admin import messages
from prefork.admin.messages import Failure

if TYPE_CHECKING:
    from prefork.pool.manager import Manager
    from prefork.pool.overview import Overview
    from prefork.pool.server import PreForkServer

LOOK_S = 0.02
"""How often it looks whether it is done. Workers write what they do to memory, and wake no reader."""
REPORT_S = 0.2
"""The least time between two lines of progress."""

QUIET_S = 0.1
MOST_COLLECTED = 1024 * 1024

Outcome: TypeAlias = tuple[str, Any]
"""What has happened, in a few words, and the same for programs."""


class Running:
    """`report(line)` sends a line of progress. The client waits for `timeout_s`."""

    def __init__(
        self,
        server: PreForkServer,
        manager: Manager,
        report: Callable[[bytes], object],
        timeout_s: float,
    ) -> None:
        self.server = server
        self.manager = manager
        self.at_end: Outcome | None = None
        """What is responded when the pool has ended meanwhile. None: that is a failure."""
        self._report = report
        self._began_s = time.monotonic()
        self._until_s = self._began_s + timeout_s
        self._reported = ("", 0.0)

    @property
    def took_s(self) -> float:
        return time.monotonic() - self._began_s

    @property
    def left_s(self) -> float:
        """How long the client still waits."""
        return max(0.0, self._until_s - time.monotonic())

    @property
    def pool(self) -> Overview:
        """What the pool has now. Raises Failure if it has ended."""
        found = self.manager.overview()
        if found is None:
            raise Failure("the pool has ended")
        return found

    async def wait(
        self,
        left: Callable[[Overview], int],
        what: str,
        *,
        spawns: bool = True,
        stage: Callable[[], str] = str,
    ) -> bool:
        """Waits until `left` returns 0, which is how many workers are not `what` yet. `stage` is told too.

        False: the client does not wait longer. Raises Failure if that `spawns` workers, and none starts.
        """
        total = 0
        while count := left(pool := self.pool):
            if spawns and pool.is_failing:
                raise Failure(
                    f"workers cannot be forked, do not start, or end at once, so {count} are not {what} yet; "
                    "it is tried again and again, and the log of the server says why"
                )
            now = time.monotonic()
            if now >= self._until_s:
                return False
            total = max(total, count)
            text = f"{total - count} of {total} workers {what}"
            self._tell(total - count, total, ": ".join(filter(None, [text, stage()])), now)
            await asyncio.sleep(LOOK_S)
        return True

    async def collect(self, read: Callable[[], str], last: str, within_s: float = math.inf) -> str:
        """What `read` returns bit by bit. It is over when nothing comes for QUIET_S and `last` has come, or
        after `within_s`.
        """
        found, grown_s = "", time.monotonic()
        until_s = min(self._until_s, grown_s + within_s)
        while (now := time.monotonic()) < until_s and len(found) < MOST_COLLECTED:
            if more := read():
                found, grown_s = found + more, now
            elif last in found and now > grown_s + QUIET_S:
                break
            await asyncio.sleep(LOOK_S)
        return found

    def _tell(self, done: int, total: int, text: str, now: float) -> None:
        before, at_s = self._reported
        if text != before and now >= at_s + REPORT_S:
            self._reported = text, now
            self._report(messages.progress(done, total, text))
