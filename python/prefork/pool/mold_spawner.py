"""Workers are forks of a mold (manager).

Owns: the mold that forks now, and the one that a reload or a refork tries. Always: there is a mold, or one is
coming; one that ends is made again, after a pause that grows while that fails. Requests wait for the first
mold only. Later, without one, they fail at once: the pool has to know that no spare will come.
"""

from __future__ import annotations

import errno
import logging
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork._engine import adopt_orphans
from prefork.pool.mold_process import MoldProcess
from prefork.pool.spawner import MoldEnded, OnSpawned, Process, Spawner

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

logger = logging.getLogger("prefork.pool")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0


class MoldSpawner(Spawner):
    """`become_mold(source, channel)` is called in each process that becomes a mold, and loads `source`.

    `never_loaded(why)` is called if the first one ends before it has the application, and `renewed()` when a
    later one has it. `is_wanted()` is asked whether a mold that has ended is made again.
    """

    hint = "--no-preload loads the application in each worker"

    def __init__(
        self,
        kernel: Kernel,
        boot_timeout_s: float,
        source: Any,
        become_mold: Callable[[Any, socket.socket], object],
        never_loaded: Callable[[MoldEnded], object],
        renewed: Callable[[], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        adopt_orphans()
        self._kernel = kernel
        self._boot_timeout_s = boot_timeout_s
        self._source = source
        self._next_source: Any = None
        self._become_mold = become_mold
        self._never_loaded = never_loaded
        self._renewed = renewed
        self._is_wanted = is_wanted
        self._was_loaded = False
        self._renews = False
        """Whether requests wait for a mold that is made for other sockets."""
        self._pause_s = FIRST_PAUSE_S
        self._retry: TimerHandle | None = None
        self._next: MoldProcess | None = None
        self._mold: MoldProcess | None = self._make(source, self._loaded, self._ended)
        self._former: list[MoldProcess] = []
        """Those that still fork what they were asked for, before a reload."""
        self._without: list[tuple[int, OnSpawned]] = []
        """Requests that came while there was no mold, and fail soon."""

    def _make(
        self, source: Any, loaded: Callable[[], object], ended: Callable[[MoldEnded], object]
    ) -> MoldProcess:
        mold = self._described(source, loaded, ended)
        mold.begin()
        return mold

    def _described(
        self, source: Any, loaded: Callable[[], object], ended: Callable[[MoldEnded], object]
    ) -> MoldProcess:
        become_mold = partial(self._become_mold, source)
        return MoldProcess(self._kernel, become_mold, self._boot_timeout_s, loaded, ended)

    def _make_again(self) -> None:
        self._retry = None
        self._mold = self._make(self._source, self._loaded, self._ended)

    def _loaded(self) -> None:
        was_missed, self._renews = self._was_loaded and not self._renews, False
        if was_missed:
            logger.warning("the application is loaded again: workers are spawned again")
            self._renewed()
        self._was_loaded = True

    def _ended(self, end: MoldEnded) -> None:
        self._renews = False
        mold, self._mold = self._mold, None
        assert mold is not None
        if not self._was_loaded:
            self._never_loaded(end)
            return
        mold.fail_requests(end)
        if not self._is_wanted():
            logger.error("the process that forks workers has ended: %s", end.why)
            return
        if mold.has_forked:
            self._pause_s = FIRST_PAUSE_S
        logger.error(
            "the process that forks workers has ended: %s; making another in %g s", end.why, self._pause_s
        )
        self._retry = self._kernel.loop.call_later(self._pause_s, self._make_again)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    @property
    def pids(self) -> list[int]:
        return [pid for mold in self._molds for pid in mold.pids]

    @property
    def _molds(self) -> list[MoldProcess]:
        return [mold for mold in (self._mold, self._next, *self._former) if mold is not None]

    # --- requests ----------------------------------------------------------------------------------------

    def spawn(self, index: int, on_spawned: OnSpawned) -> None:
        if self._mold is not None and (self._mold.is_loaded or self._renews or not self._was_loaded):
            self._mold.spawn(index, on_spawned)
            return
        if not self._without:
            self._kernel.loop.call_soon(self._fail)
        self._without.append((index, on_spawned))

    def _fail(self) -> None:
        requests, self._without = self._without, []
        for index, on_spawned in requests:
            on_spawned(index, OSError(errno.ECHILD, "the application is being loaded again"))

    def cancel(self) -> list[int]:
        """Withdraws the requests that no worker is being made for yet. Returns their slots."""
        cancelled = [index for index, _ in self._without]
        self._without.clear()
        for mold in self._molds:
            cancelled += mold.cancel()
        return cancelled

    def renew(self) -> None:
        """Makes the mold again: this one has a copy of sockets that are closed. Requests wait for it."""
        if self._mold is None:
            return  # it is about to be made
        self.drop_next()
        self._renews = True
        former, self._mold = self._mold, self._make(self._source, self._loaded, self._ended)
        self._retire(former)

    def restart(self, source: Any) -> list[int]:
        dropped = self.end()
        self._source = source
        self._renews = True
        self._pause_s = FIRST_PAUSE_S
        self._mold = self._make(source, self._loaded, self._ended)
        return dropped

    # --- another mold ------------------------------------------------------------------------------------

    def try_next(
        self, source: Any, loaded: Callable[[], object], ended: Callable[[MoldEnded], object]
    ) -> None:
        """Makes another mold, beside the one that forks. `loaded()` or `ended(why)` is called later."""
        self.drop_next()
        self._next_source = source
        self._next = self._make(source, loaded, ended)

    def adopt_next(
        self, process: Process, channel: socket.socket, ended: Callable[[MoldEnded], object]
    ) -> None:
        """As `try_next`, of the same source: a worker has become that mold, and has the application."""
        self.drop_next()
        self._next_source = self._source
        self._next = self._described(self._source, lambda: None, ended)
        self._next.adopt(process, channel)

    def spawn_next(self, index: int, on_spawned: OnSpawned) -> None:
        """Requests a worker of the other mold."""
        assert self._next is not None
        self._next.spawn(index, on_spawned)

    def check_next(self, lives: Callable[[], object]) -> None:
        """Has `lives()` called if the other mold goes on. If it does not, it ends."""
        assert self._next is not None
        self._next.ping(lives)

    def drop_next(self) -> list[int]:
        """Ends the other mold. Returns the slots of its requests, which come to nothing."""
        other, self._next = self._next, None
        return [] if other is None else other.close()

    def commit(self) -> None:
        """The other mold takes the place of the one that forked until now."""
        assert self._next is not None
        former, self._mold, self._next = self._mold, self._next, None
        self._source = self._next_source
        self._mold.follow(self._ended)
        self._was_loaded = True
        self._pause_s = FIRST_PAUSE_S
        if former is not None:
            self._retire(former)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _retire(self, former: MoldProcess) -> None:
        assert self._mold is not None
        former.retire(self._mold)
        self._former = [mold for mold in (*self._former, former) if not mold.is_closed]

    # --- its end -----------------------------------------------------------------------------------------

    def end(self) -> list[int]:
        """Ends the molds, and the workers that they have forked and that have not begun. Returns the slots of
        the requests that come to nothing.
        """
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        dropped = [index for index, _ in self._without]
        self._without.clear()
        for mold in self._molds:
            dropped += mold.close()
        self._mold = self._next = None
        self._former = []
        return dropped

    def close(self) -> None:
        """Ends the molds."""
        self.end()

    def discard(self) -> None:
        for mold in self._molds:
            mold.discard()
