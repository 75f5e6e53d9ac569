"""How a worker becomes the next mold, if its manager says so (`--refork-after`; worker).

Owns the channel of this worker to its manager, and the resources of the pool that the next workers need: in a
worker without this option they are closed. `refork.py` is the manager's side.

Always: a process becomes a mold only between turns, when its requests, its tasks and its loop have ended, and
if it has no other thread, no child process and nothing open that must not be forked. Otherwise it says why
not, and ends as any worker does.
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from prefork.errors import PreforkError
from prefork.kernel.forking import exit_at_once
from prefork.kernel.live_threads import other_threads
from prefork.logs.escaping import show
from prefork.pool.ending import live_children
from prefork.pool.mold import LARGEST, BecomeWorker, Mold, Word, decode, encode

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.pool.resources import PoolResources

END_S = 1.0
"""How long threads have to end that nothing waits for: that of the guard, and those of pools."""

POLL_S = 0.005


class Stage(enum.Enum):
    SERVING = "it is a worker"
    ENDING = "it ends as a worker, to be a mold"
    GIVEN_UP = "it ends as any worker"


class NextMold:
    """`settle(ours)` has the application close what workers must not share, and returns what is open all the
    same, but for the descriptors `ours`. `make_workers()` returns what makes workers of forked children.
    """

    def __init__(
        self,
        kernel: Kernel,
        resources: PoolResources,
        settle: Callable[[Collection[int]], list[str]],
        make_workers: Callable[[], BecomeWorker],
        channel: socket.socket,
    ) -> None:
        self._kernel = kernel
        self._channel = channel
        self._resources = resources
        self._settle = settle
        self._make_workers = make_workers
        self._stage = Stage.SERVING

    @property
    def is_wanted(self) -> bool:
        """Whether this process is to be a mold when it has served its last request."""
        return self._stage is Stage.ENDING

    def listen(self, end: Callable[[], object]) -> None:
        """The worker serves: `end()` is called when the manager wants the mold."""
        self._kernel.loop.add_reader(self._channel.fileno(), self._hear, end)

    def _hear(self, end: Callable[[], object]) -> None:
        try:
            said = self._channel.recv(LARGEST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if self._stage is Stage.SERVING and decode(said) == [Word.BECOME]:
            self._stage = Stage.ENDING
            end()
        elif not said:  # the manager has given it up
            self.give_up()

    def give_up(self) -> None:
        """The worker ends for another reason, or the manager wants no mold of it any more."""
        if self._stage is not Stage.GIVEN_UP:
            self._stage = Stage.GIVEN_UP
            with contextlib.suppress(RuntimeError):  # there is no loop
                self._kernel.loop.remove_reader(self._channel.fileno())
            self._channel.close()

    def abandon(self) -> None:
        """In a child that the application forked: closes its copies."""
        self._channel.close()
        self._resources.close()

    def become(self, end_worker: Callable[[], object]) -> bool:
        """At the top level of `run()`: ends the loop, calls `end_worker()`, and forks workers from then on.

        It returns in each of these, with True, and in this process if that cannot be a mold.
        """
        self._kernel.loop.remove_reader(self._channel.fileno())
        left = self._kernel.end_loop()
        try:
            why_not = self._prepare(end_worker, left)
        finally:
            self._kernel.open_loop()
        if why_not or not self.is_wanted:
            self._tell(why_not)
            return False
        mold = Mold(self._kernel, self._channel, self._resources.manager_pid, links=True)
        mold.fork_workers(self._make_workers())
        return True

    def _prepare(self, end_worker: Callable[[], object], tasks: int) -> str:
        """Returns what prevents that this process is forked; "" if nothing does. `tasks` did not end."""
        pid = os.getpid()
        end_worker()
        try:
            self._resources.board.open()
            board = self._resources.board
            ours = (self._channel.fileno(), board.fileno(), board.wakeup_fileno())
            found = self._settle(ours)
        except (PreforkError, OSError) as error:
            cause = error.__cause__
            return show(error) if cause is None else f"{show(error)}: {show(cause, repr)}"
        self._kernel.end_if_abandoned()
        if os.getpid() != pid:  # a function of the application has forked: its parent goes on
            exit_at_once(0)
        until = time.monotonic() + END_S
        while (threads := other_threads()) and time.monotonic() < until:
            time.sleep(POLL_S)
        found += [*threads, *(f"child process {child}" for child in live_children())]
        if tasks:
            found.append(f"{tasks} tasks that did not end")
        return f"it has {', '.join(found)}" if found else ""

    def _tell(self, why_not: str) -> None:
        with contextlib.suppress(OSError):  # it has given this process up
            self._channel.send(encode(Word.FAILED, why_not, "", 0), socket.MSG_DONTWAIT)
        self.give_up()
