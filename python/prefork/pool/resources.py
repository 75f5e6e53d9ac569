"""What all processes of a pool share.

Owns: the scoreboard's memory, the sockets of overcommit, the central queue, the pipe for reports of failed
starts, and the socket that holds the glue.
Always: the manager makes them before the first fork, so that every worker inherits them. They have no name in
the file system and end with the last process that holds them. No call of the manager waits, whatever a worker
does to what they share.
"""

from __future__ import annotations

import contextlib
import errno
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


def _read_at_once(eventfd: int) -> None:
    """Reads an eventfd that workers share, and does not wait: whether a read waits is a property of the open
    file, which each of them can change. Raises BlockingIOError.
    """
    try:
        os.preadv(eventfd, [bytearray(8)], -1, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # Linux before 5.8
            raise
        os.eventfd_read(eventfd)


class PoolResources:
    """`capacity` is the number of slots; `glue` None takes a free name. `about()` is what the manager says of
    itself to those that read the scoreboard.

    `queue` and `held`, the name and the socket of a glue, are those of the pool whose place this one takes.

    Raises GlueInUse and ScoreboardUnavailable, and OSError if there is no memory or no descriptor.
    """

    def __init__(
        self,
        capacity: int,
        glue: str | None,
        about: Callable[[], object],
        queue: tuple[socket.socket, socket.socket] | None = None,
        held: tuple[str, socket.socket] | None = None,
    ) -> None:
        self.manager_pid = os.getpid()
        with contextlib.ExitStack() as undo:
            self.board = Scoreboard.create(capacity)
            undo.callback(self.board.close)
            # The manager writes to the first. The second is readable while no spare is left and none will
            # come: active workers then accept as well.
            self._overcommit = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            for end in self._overcommit:
                undo.callback(end.close)
            self.reports = BootReports()
            undo.callback(self.reports.close)
            self.stacks = Stacks()
            undo.callback(self.stacks.close)
            self._queue = queue or _make_queue()
            for end in self._queue:
                undo.callback(end.close)
            glue, bound = held or (glue, None)
            self.socket = ScoreboardSocket(self.board, glue, about, bound)
            undo.pop_all()
        self._overcommits = False
        self.board.publish(
            pid=self.manager_pid, started_ns=time.monotonic_ns(), started_unix_s=int(time.time())
        )

    def clear_wakeup(self) -> None:
        """Clears the wake-up that `board.wakeup_fileno()` reports (manager)."""
        with contextlib.suppress(BlockingIOError):
            _read_at_once(self.board.wakeup_fileno())

    def overcommit(self, wanted: bool) -> None:
        """Lets active workers accept, or only spares (manager)."""
        if wanted == self._overcommits:
            return
        self._overcommits = wanted
        ours, shared = self._overcommit
        with contextlib.suppress(OSError):  # a worker has read it, or shut it down
            if wanted:
                ours.send(b"1", socket.MSG_DONTWAIT)
            else:
                shared.recv(1, socket.MSG_DONTWAIT)

    @property
    def queue_fileno(self) -> int:
        """The end of the queue from which workers adopt."""
        return self._queue[1].fileno()

    @property
    def queue_filenos(self) -> tuple[int, int]:
        """Both ends: the one to send to, and the other."""
        return self._queue[0].fileno(), self._queue[1].fileno()

    @property
    def queue_length(self) -> int:
        """How many connections and streams wait there."""
        return queue_length(self.queue_fileno)

    def renew_queue(self) -> None:
        """Makes another queue, for the workers that are forked from now on (manager). Raises OSError."""
        for end in self._queue:
            end.close()
        self._queue = _make_queue()

    def join(
        self, engine: Engine, index: int, *, concurrency: int, workers: int, keeps: bool = False
    ) -> None:
        """Makes the engine of this process that of the worker in slot `index` (worker). `workers` is the
        maximum number of workers. `keeps`: this process may fork workers later, after `board.open()`.
        """
        kept = self.board.keep() if keeps else None
        engine.join_pool(self.board, index, concurrency, workers, self._overcommit[1].fileno())
        engine.join_queue(self._queue[0].fileno(), self._queue[1].fileno())
        engine.end_with(self.manager_pid)
        self.stacks.join()
        if kept is not None:
            self.board = kept

    def close(self) -> None:
        """Closes them in this process. The manager gives the glue up; a worker's copy would keep it taken."""
        self.socket.close()
        self.board.close()
        self.reports.close()
        self.stacks.close()
        for end in (*self._overcommit, *self._queue):
            end.close()
