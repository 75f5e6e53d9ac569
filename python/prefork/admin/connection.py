"""One client of the control socket: it sends lines, one request each, and reads lines.

Always: what a client sends or does not read is limited in bytes and in time, and the manager never waits for
it. A line is taken when the one before has its response. It must not know what a line means.
"""

from __future__ import annotations

import contextlib
import socket
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import NamedTuple

from prefork.admin.messages import LONGEST_BYTES

SLOW_S = 10.0
"""How long a client may take for a line, and for reading a response."""
UNREAD_BYTES = 4 * 1024 * 1024
"""The most that is kept for a client that does not read. Progress is dropped long before."""
RECEIVE_BYTES = 65536


class Peer(NamedTuple):
    """The process at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"pid {self.pid}, user {self.uid}"


class Connection:
    """`take(connection, line)` is called for each line, and has `respond` called later.

    `wrong(connection, what)` is called before it is closed for something that the client has done, and
    `closed(connection)` when it is closed.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        peer: Peer,
        take: Callable[[Connection, bytes], object],
        wrong: Callable[[Connection, str], object],
        closed: Callable[[Connection], object],
    ) -> None:
        self.peer = peer
        self.is_busy = False
        """Whether a line has no response yet."""
        self._loop = loop
        self._socket = sock
        self._take = take
        self._wrong = wrong
        self._closed = closed
        self._received = bytearray()
        self._unsent = bytearray()
        self._has_ended = False
        self._deadline: TimerHandle | None = None
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._receive)
        self._limit_time()

    # --- what it sends -----------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if received:
            self._received += received
        else:  # it may still read, as a client that is at the end of its file
            self._has_ended = True
            self._loop.remove_reader(self._socket.fileno())
        self._take_line()

    def _take_line(self) -> None:
        if self.is_busy or self._unsent:
            if len(self._received) > LONGEST_BYTES:
                self._fail("it sent more than it waits for")
            return
        line, newline, rest = self._received.partition(b"\n")
        if len(line) > LONGEST_BYTES:
            self._fail(f"its line is longer than {LONGEST_BYTES >> 10} KiB")
        elif newline:
            self._received = rest
            self.is_busy = True
            self._cancel_deadline()
            self._take(self, bytes(line))
        elif self._has_ended:
            if line:
                self._fail("its last line has no end")
            else:
                self.close()

    # --- what it is sent ---------------------------------------------------------------------------------

    def report(self, line: bytes) -> None:
        """Sends a line before the response, unless the client has not read the one before."""
        if self.is_busy and not self._unsent:
            self._send(line)

    def respond(self, line: bytes) -> None:
        """Sends the last line for a request. The next one may follow."""
        if not self.is_busy:
            return  # it was closed meanwhile
        self.is_busy = False
        self._limit_time()
        self._send(line)
        if not self.is_closed:
            self._take_line()

    def _send(self, line: bytes) -> None:
        was_empty = not self._unsent
        self._unsent += line
        if len(self._unsent) > UNREAD_BYTES:
            self._fail("it does not read")
        elif was_empty:
            self._flush()
            if self._unsent and not self.is_closed:
                self._loop.add_writer(self._socket.fileno(), self._go_on)

    def _flush(self) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                while self._unsent:
                    del self._unsent[: self._socket.send(self._unsent)]
        except OSError:
            self.close()

    def _go_on(self) -> None:
        self._flush()
        if not (self._unsent or self.is_closed):
            self._loop.remove_writer(self._socket.fileno())
            self._take_line()

    # --- its end -----------------------------------------------------------------------------------------

    def _limit_time(self) -> None:
        self._cancel_deadline()
        self._deadline = self._loop.call_later(SLOW_S, self._is_late)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        if self._unsent:
            self._fail(f"it does not read for {SLOW_S:g} s")
        elif self._received:
            self._fail(f"its line has no end for {SLOW_S:g} s")
        else:
            self.close()

    def _fail(self, what: str) -> None:
        self._wrong(self, what)
        self.close()

    @property
    def is_closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        if self.is_closed:
            return
        self._cancel_deadline()
        self.is_busy = False
        self._received.clear()
        self._unsent.clear()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._closed(self)

    def discard(self) -> None:
        """In a forked child: closes its copy of the descriptor."""
        self._socket.close()
