"""Notices that a process of the pool has shut down a socket that all of them share (manager).

Owns an epoll set with the end of the central queue and the listening sockets. It asks for their end alone,
so it wakes for no client and no hand-off. A worker cannot mend what it finds shut, and its successor inherits
that: only the manager can make another socket.
"""

from __future__ import annotations

import contextlib
import select
from asyncio import AbstractEventLoop
from collections.abc import Callable, Collection, Iterable


class SharedSockets:
    """`shut(filenos)` is called once for the sockets that are watched and were shut down, by shutdown(2).

    It may close them, so that their numbers are soon those of others.

    Raises OSError if there is no descriptor for the set.
    """

    def __init__(self, loop: AbstractEventLoop, shut: Callable[[Collection[int]], object]) -> None:
        self._loop = loop
        self._shut = shut
        self._set = select.epoll()
        self._watched: set[int] = set()
        loop.add_reader(self._set.fileno(), self._report)

    def watch(self, filenos: Iterable[int]) -> None:
        """Watches these descriptors, and no others."""
        wanted = set(filenos)
        for fileno in self._watched - wanted:
            self._forget(fileno)
        for fileno in wanted - self._watched:
            self._set.register(fileno, select.EPOLLRDHUP)  # EPOLLHUP is always reported
        self._watched = wanted

    def _forget(self, fileno: int) -> None:
        self._watched.discard(fileno)
        with contextlib.suppress(OSError):  # it is closed
            self._set.unregister(fileno)

    def _report(self) -> None:
        shut = [fileno for fileno, _ in self._set.poll(0)]
        for fileno in shut:
            self._forget(fileno)
        if shut:
            self._shut(shut)

    def close(self) -> None:
        """Watches nothing any more."""
        self._loop.remove_reader(self._set.fileno())
        self._set.close()

    def discard(self) -> None:
        """Closes the descriptor of this process, in a child (worker)."""
        self._set.close()
