"""Why workers failed to start, as they tell their manager.

A pipe that the manager makes before the first fork. Always: neither end blocks, and a report is written whole
or not at all. What a worker wrote is text for the log, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select

END = b"\0"


class BootReports:
    """Raises OSError if the process has no descriptor left."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def read(self) -> list[str]:
        """The reports that came, oldest first (manager)."""
        with contextlib.suppress(BlockingIOError):
            received = os.read(self._reader, 16 * select.PIPE_BUF)
            return [text.decode(errors="replace") for text in received.split(END) if text]
        return []

    def close(self) -> None:
        """Closes this process's ends."""
        os.close(self._reader)
        os.close(self._writer)

    def open_writer(self) -> BootReport:
        """What one worker reports with. It outlives `close`."""
        return BootReport(os.dup(self._writer))


class BootReport:
    """Worker: reports a failed start, or is closed after a good one."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, text: str) -> None:
        """Tells the manager why this worker does not start. A pipe that is full has enough reports."""
        with contextlib.suppress(OSError):
            os.write(self._fd, text.encode(errors="replace").replace(END, b"")[: select.PIPE_BUF - 1] + END)

    def close(self) -> None:
        os.close(self._fd)
