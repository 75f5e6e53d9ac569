"""Lines to a descriptor whose reader may be slow, or not read at all.

Always: `write` returns at once. What a full pipe does not take is kept, up to a limit, and written by a
thread that lives only as long as something is kept. Beyond the limit lines are lost, the latest first: the
first ones say what went wrong. Their number is logged.

This file must not know what the lines are.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TextIO

logger = logging.getLogger("prefork")

LIMIT_BYTES = 1 << 20
"""What is kept at most, in each process."""

FLUSH_S = 0.5


class Output:
    """Writes lines to `descriptor`; `name` says in the log what is written there."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._name = name
        self._given = descriptor
        self._descriptor, self._write = _without_waiting(descriptor)
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._lost = 0
        self._lock = threading.Lock()
        """For what is kept: threads take turns. A line that is written at once needs no lock."""
        self._thread: threading.Thread | None = None
        """Exists while something is kept."""
        os.register_at_fork(after_in_child=self._forked)

    @property
    def descriptor(self) -> int:
        """The descriptor that it writes to."""
        return self._descriptor

    def write(self, line: bytes) -> None:
        """Writes a line, or several. An error is ignored: no response fails for it."""
        rest = line if self._kept else self._attempt(line)
        if rest:
            self._keep(rest)

    def flush(self) -> None:
        """Gives a slow reader a moment to read what is kept."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(FLUSH_S)

    def _attempt(self, data: bytes) -> bytes:
        """Writes what the descriptor takes now, and returns the rest."""
        try:
            while data and (written := self._write(data)):  # a terminal takes a line in two pieces
                data = data[written:]
            return data
        except BlockingIOError:
            return data
        except OSError as error:  # a full disk, or a reader that has gone
            if error.errno == errno.EBADF and self._descriptor != self._given:
                return self._attempt_given(data)
            return b""

    def _attempt_given(self, data: bytes) -> bytes:
        """The program has closed our descriptor of the file, and not its own."""
        try:
            self._descriptor, self._write = _without_waiting(self._given)
        except OSError:
            return b""
        return self._attempt(data)

    def _keep(self, data: bytes) -> None:
        with self._lock:
            if self._kept_bytes + len(data) > LIMIT_BYTES:
                self._lost += 1
                return
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._drain, name=self._name, daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the system has no thread left
                    self._forget()

    def _drain(self) -> None:
        """In the thread: writes what is kept, as it is read."""
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while not self._drained():
            ready.poll()
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            logger.warning("%d lines of %s were lost: they were not read for too long", lost, self._name)

    def _drained(self) -> bool:
        """Writes what the descriptor takes. Returns whether that was all."""
        with self._lock:
            while self._kept:
                first = self._kept[0]
                rest = self._attempt(first)
                self._kept_bytes -= len(first) - len(rest)
                if rest:
                    self._kept[0] = rest
                    return False
                self._kept.popleft()
            self._thread = None
        return True

    def _forget(self) -> None:
        self._lost += len(self._kept)
        self._kept.clear()
        self._kept_bytes = 0
        self._thread = None

    def _forked(self) -> None:
        """In a child: what is kept is its parent's, and so is the thread."""
        if self._thread is not None:
            self._lock = threading.Lock()
            self._forget()
            self._lost = 0


class StreamOutput:
    """Writes lines to a stream that has no descriptor, or nowhere if it is closed."""

    descriptor = -1

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Writes a line, or several. An error is ignored."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(line.decode())
                self._stream.flush()

    def flush(self) -> None:
        """Nothing is kept here."""


def output_of(stream: TextIO | None, name: str) -> Output | StreamOutput:
    """An output for a stream of Python, such as `sys.stderr`."""
    try:
        return Output(stream.fileno(), name)  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return StreamOutput(stream)


def _without_waiting(descriptor: int) -> tuple[int, Callable[[bytes], int]]:
    """A descriptor of the same file, and a function that writes to it as much as it takes now.

    O_NONBLOCK is not set on the descriptor itself: it is a property of the open file, which other programs
    share, such as the shell that started the server.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or not os.get_blocking(descriptor):
        return descriptor, partial(os.write, descriptor)
    if not stat.S_ISSOCK(mode):
        with contextlib.suppress(OSError):  # another user's, or no /proc
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            return own, partial(os.write, own)
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)

    def write(data: bytes) -> int:
        # Ready means that a pipe takes so much at least; a socket takes more.
        return os.write(descriptor, data[: select.PIPE_BUF]) if ready.poll(0) else 0

    return descriptor, write
