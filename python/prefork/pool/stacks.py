"""The stacks of a worker's threads, which it writes even while its Python is stuck.

A pipe that the manager makes before the first fork. On the signal STACKS `faulthandler` writes to it, in C
and without the GIL. Always: neither end blocks. What comes is text to show, and it is limited: a worker could
write anything.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from typing import ClassVar

from prefork._engine import STACKS

MOST_BYTES = 256 * 1024


class Stacks:
    """Raises OSError if the process has no descriptor left."""

    _registered: ClassVar[int | None] = None
    """The descriptor that this process writes its own stacks to."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_worker = False
        self.is_reading = False
        """Whether a command waits for stacks. Those of two workers would be mixed."""

    def prepare(self) -> None:
        """Manager, before it forks: the next workers write to this pipe."""
        if Stacks._registered != self._writer:
            faulthandler.register(STACKS, file=self._writer, all_threads=True)
            Stacks._registered = self._writer

    def read(self) -> str:
        """What has come since the last call (manager)."""
        found = bytearray()
        with contextlib.suppress(BlockingIOError):
            while len(found) < MOST_BYTES and (part := os.read(self._reader, 65536)):
                found += part
        return found.decode(errors="replace")

    def join(self) -> None:
        """Worker: keeps its end when the others are closed."""
        self._is_worker = True

    def close(self) -> None:
        """Closes this process's ends, but that of a worker."""
        os.close(self._reader)
        if not self._is_worker:
            self.leave()

    def leave(self) -> None:
        """Closes the end that is written to. What has its number later is not written to."""
        if Stacks._registered == self._writer:
            faulthandler.unregister(STACKS)
            Stacks._registered = None
        os.close(self._writer)
