"""A reload: new code and options, tried with one worker before any other is replaced (manager).

Its steps: the options are read again, another mold loads the application, and forks one worker. When that one
is ready, its mold has gone on after the fork, and a canary (`canary.py`) has nothing against the new code,
the new mold takes the place of the old one, and the policy replaces the other workers. Always: what fails
before that leaves the pool as it was; there is one reload at a time, and a second one replaces it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prefork._engine import time_bounds
from prefork.errors import PreforkError
from prefork.logs.escaping import escape_line
from prefork.pool.canary import Canary, CanaryLimits, Decision

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

    from prefork.config.options import PreForkOptions
    from prefork.pool.spawner import MoldEnded, Spawner
    from prefork.pool.supervisor import Supervisor

logger = logging.getLogger("prefork.pool")

CANARY_S = 1.0
"""How often the canary looks."""


@dataclass(frozen=True, slots=True)
class End:
    """How a reload ended: `failure` is empty if every worker has the new code."""

    failure: str
    generation: int
    seconds: float


OnDone = Callable[[End], object]


class Reloadable(Protocol):
    """What the spawner loads: the application, with its options."""

    def read(self) -> Any:
        """Reads the options again, for the next generation. Raises PreforkError."""

    def accept(self, read: Any) -> object:
        """The next generation serves: these are the options from now on. Raises PreforkError."""


class Reload:
    """One attempt. `ended(self)` is called with its end, once."""

    name = "reload"
    """What it is called in the log."""
    first_worker = "the first worker with the new code"
    cancel_level = logging.WARNING

    def __init__(
        self,
        loop: AbstractEventLoop,
        spawner: Spawner,
        supervisor: Supervisor,
        source: Reloadable | None,
        options: PreForkOptions,
        ended: Callable[[Reload], object],
    ) -> None:
        self._loop = loop
        self._spawner = spawner
        self._supervisor = supervisor
        self._source = source
        self._options = options
        self._ended = ended
        self._began_s = loop.time()
        self._read: Any = None
        self.stage = ""
        """What it waits for, for an operator."""
        self.end: End | None = None
        self._watchers: list[OnDone] = []
        self._canary: Canary | None = None
        self._timer: TimerHandle | None = None

    def watch(self, on_done: OnDone | None) -> None:
        """Has `on_done` called with its end."""
        if on_done is not None:
            self._watchers.append(on_done)

    def begin(self) -> None:
        """Loads the new code."""
        try:
            self._read = None if self._source is None else self._source.read()
        except PreforkError as error:
            self._fail(str(error))
            return
        self.stage = "the new code is loaded"
        self._spawner.try_next(self._read, self._loaded, self._mold_ended)

    def _loaded(self) -> None:
        self.stage = "a first worker starts with it"
        self._supervisor.try_next(self._spawner.spawn_next, self._tried)

    def _mold_ended(self, end: MoldEnded) -> None:
        was_loaded = end.exit_status is None
        told = (
            "the process that forks its workers has ended" if was_loaded else "the new code cannot be loaded"
        )
        self._fail(f"{told}: {end}")

    def _tried(self, failure: str) -> None:
        """The first worker of the new generation is ready, or is none."""
        if failure:
            self._fail(f"{self.first_worker} failed: {failure}")
            return
        self.stage = "its mold goes on after the first fork"
        self._spawner.check_next(self._molded)

    def _molded(self) -> None:
        """There is a worker of the new generation, and others can be made."""
        options = self._options
        if options.canary and self._supervisor.pids[1:]:
            limits = CanaryLimits(
                options.canary_window, options.canary_max_errors, options.canary_max_slowdown
            )
            generation = self._supervisor.generation + 1
            self._canary = Canary(generation, limits, time_bounds(), self._loop.time())
            self._supervisor.begin_canary(options.canary, self._spawner.spawn_next, self._canary)
            self._compare()
        else:
            self._commit()

    def _compare(self) -> None:
        """Goes on when the canary has decided."""
        assert self._canary is not None
        verdict = self._canary.observe(self._supervisor.readings(), self._loop.time())
        if verdict.decision is Decision.WAIT:
            self.stage = f"the canary compares: {verdict.why}"
            self._timer = self._loop.call_later(CANARY_S, self._compare)
        elif verdict.decision is Decision.GO_ON:
            logger.warning("canary: generation %d serves as well: %s", self._canary.generation, verdict.why)
            self._commit()
        else:
            self._fail(f"the canary rolls back: {verdict.why}")

    def _commit(self) -> None:
        """The other workers are replaced as well."""
        try:
            if self._source is not None:
                self._source.accept(self._read)
        except PreforkError as error:
            self._fail(str(error))
            return
        self.stage = ""
        self._spawner.commit()
        self._supervisor.adopt_next(self._replaced)

    def _replaced(self) -> None:
        self._finish("")
        assert self.end is not None
        generation, seconds = self.end.generation, self.end.seconds
        text = "%s: every worker is of generation %d, after %.1f s"
        logger.warning(text, self.name, generation, seconds)

    def cancel(self, why: str) -> None:
        """Gives it up: the workers that serve go on."""
        if self.end is None:
            logger.log(self.cancel_level, "%s: given up, because %s", self.name, why)
            self._drop()
            self._finish(why)

    def discard(self) -> None:
        """In a child that was forked with a copy of it: closes what it has of its own."""

    def _fail(self, why: str) -> None:
        self._drop()
        generation = self._supervisor.generation
        logger.error("%s: %s; generation %d serves on", self.name, escape_line(why), generation)
        self._finish(why)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._supervisor.drop_next(self._spawner.drop_next())

    def _finish(self, failure: str) -> None:
        generation = self._supervisor.generation
        self.end = end = End(failure, generation, self._loop.time() - self._began_s)
        self._ended(self)
        for on_done in self._watchers:
            on_done(end)
