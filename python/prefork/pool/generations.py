"""The generation of new workers, and the next one while a reload tries it (plain data).

A generation is tried by one worker. With a canary it then has a share of the workers. Always: the number goes
up when the first worker of the next generation is ready, and back if the canary is given up; so what is
outdated has another number than the current one.

It must not know processes, clocks or the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefork.pool.policy import Trial
from prefork.pool.spawner import OnSpawned

if TYPE_CHECKING:
    from prefork.pool.canary import Canary

Spawn = Callable[[int, OnSpawned], object]


@dataclass(slots=True)
class Tried:
    """The first worker of the next generation, spawned at `since` beside `others`.

    `done` is called when it is ready (""), or with why it is not.
    """

    index: int
    since: float
    others: int
    done: Callable[[str], object]


@dataclass(slots=True)
class Compared:
    """What a canary needs: `spawn` makes a worker of the newest generation, `canary` hears of failures."""

    trial: Trial
    spawn: Spawn
    canary: Canary


class Generations:
    """`current` is the generation of new workers."""

    def __init__(self) -> None:
        self.current = 1
        self.tried: Tried | None = None
        self._compared: Compared | None = None
        self.replaced: Callable[[], object] | None = None
        """Called when no worker of a former generation takes a request any more."""

    def is_tried(self, index: int) -> bool:
        """Whether the worker in that slot is the one that is tried."""
        return self.tried is not None and self.tried.index == index

    @property
    def trial(self) -> Trial | None:
        """What the policy has to heed while a canary lasts."""
        return None if self._compared is None else self._compared.trial

    def spawn(self, generation: int) -> Spawn | None:
        """What makes workers of that generation, if it is the newest one of a canary."""
        compared = self._compared
        return None if compared is None or generation == compared.trial.previous else compared.spawn

    def advance(self) -> Tried | None:
        """The next generation is the current one. Returns its first worker, if it was tried."""
        tried, self.tried = self.tried, None
        self.current += 1
        return tried

    def begin_canary(self, share: float, spawn: Spawn, canary: Canary) -> Tried | None:
        """As `advance`, for a share of the workers."""
        self._compared = Compared(Trial(share, self.current), spawn, canary)
        return self.advance()

    def end_canary(self) -> bool:
        """The newest generation is that of all. False: there is no canary."""
        compared, self._compared = self._compared, None
        return compared is not None

    def drop_next(self) -> Tried | None:
        """There is no next generation. Returns its first worker, if that is tried."""
        tried, self.tried = self.tried, None
        compared, self._compared = self._compared, None
        self.replaced = None
        if compared is not None:
            self.current = compared.trial.previous  # the newer workers are outdated
        return tried

    def crashed(self, generation: int) -> None:
        """A worker that was ready has ended by itself."""
        if self._compared is not None:
            self._compared.canary.crashed(generation)

    def boot_failed(self, generation: int, why: str) -> None:
        """A worker has failed to start."""
        if self._compared is not None:
            self._compared.canary.boot_failed(generation, why)
