"""What all processes of a pool share.

Owns: the scoreboard's memory, the overcommit eventfd, the central queue, the pipe for reports of failed
starts, and the socket that holds the glue.
Always: the manager makes them before the first fork, so that every worker inherits them. They have no name in
the file system and end with the last process that holds them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefork._engine import Scoreboard, queue_length
from prefork.pool.boot_reports import BootReports
from prefork.pool.scoreboard import ScoreboardSocket
from prefork.pool.stacks import Stacks

if TYPE_CHECKING:
    from prefork._engine import Engine


def _make_queue() -> tuple[socket.socket, socket.socket]:
    """The central queue. The manager holds both ends, so what is in the queue survives the workers."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)


class PoolResources:
    """`capacity` is the number of slots; `glue` None takes a free name. `about()` is what the manager says of
    itself to those that read the scoreboard.

    Raises GlueInUse and ScoreboardUnavailable, and OSError if there is no memory or no descriptor.
    """

    def __init__(self, capacity: int, glue: str | None, about: Callable[[], object]) -> None:
        self.manager_pid = os.getpid()
        with contextlib.ExitStack() as undo:
            self.board = Scoreboard.create(capacity)
            undo.callback(self.board.close)
            # Readable while no spare is left and none will come: active workers then accept as well.
            self._overcommit_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._overcommit_fd)
            self.reports = BootReports()
            undo.callback(self.reports.close)
            self.stacks = Stacks()
            undo.callback(self.stacks.close)
            self._queue = _make_queue()
            for end in self._queue:
                undo.callback(end.close)
            self.socket = ScoreboardSocket(self.board, glue, about)
            undo.pop_all()
        self._overcommits = False
        self.board.publish(
            pid=self.manager_pid, started_ns=time.monotonic_ns(), started_unix_s=int(time.time())
        )

    def clear_wakeup(self) -> None:
        """Clears the wake-up that `board.wakeup_fileno()` reports (manager)."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.board.wakeup_fileno())

    def overcommit(self, wanted: bool) -> None:
        """Lets active workers accept, or only spares (manager)."""
        if wanted == self._overcommits:
            return
        self._overcommits = wanted
        with contextlib.suppress(BlockingIOError):  # a worker has changed the number
            if wanted:
                os.eventfd_write(self._overcommit_fd, 1)
            else:
                os.eventfd_read(self._overcommit_fd)

    @property
    def queue_fileno(self) -> int:
        """The end of the queue from which workers adopt."""
        return self._queue[1].fileno()

    @property
    def queue_length(self) -> int:
        """How many connections and streams wait there."""
        return queue_length(self.queue_fileno)

    def renew_queue(self) -> None:
        """Makes another queue, for the workers that are forked from now on (manager). Raises OSError."""
        for end in self._queue:
            end.close()
        self._queue = _make_queue()

    def join(self, engine: Engine, index: int, *, concurrency: int, workers: int) -> None:
        """Makes the engine of this process that of the worker in slot `index` (worker). `workers` is the
        maximum number of workers.
        """
        engine.join_pool(self.board, index, concurrency, workers, self._overcommit_fd)
        engine.join_queue(self._queue[0].fileno(), self._queue[1].fileno())
        engine.end_with(self.manager_pid)
        self.stacks.join()

    def close(self) -> None:
        """Closes them in this process. The manager gives the glue up; a worker's copy would keep it taken."""
        self.socket.close()
        self.board.close()
        os.close(self._overcommit_fd)
        self.reports.close()
        self.stacks.close()
        for end in self._queue:
            end.close()
