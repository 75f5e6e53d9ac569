"""What a service manager is told of this process (sd_notify(3)).

Owns the socket of NOTIFY_SOCKET, and the messages that it has not taken yet.
Always: a call never waits and raises nothing. The service goes on, whether its manager listens or not.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from array import array
from collections import deque
from collections.abc import Sequence

from prefork.logs.escaping import show

logger = logging.getLogger("prefork.server")

MOST_UNSENT = 16


class Notifier:
    """`address` is that of NOTIFY_SOCKET: a path, or `@name` of an abstract socket.

    It connects at once: a process with another root directory would not find the path any more.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._unsent: deque[bytes] = deque(maxlen=MOST_UNSENT)
        self._has_failed = False
        self._connect()

    def _connect(self) -> None:
        name = os.fsencode(self.address)
        try:
            self._socket.connect(b"\0" + name[1:] if name.startswith(b"@") else name)
        except (OSError, ValueError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.warning(
                "cannot notify the service manager on %s (NOTIFY_SOCKET): %s", self.address, show(error)
            )

    def send(self, *assignments: str) -> None:
        """Tells a change, such as READY=1. If there is no room for it now, `flush` sends it later."""
        self._unsent.append("\n".join(assignments).encode())
        self.flush()

    def flush(self) -> None:
        """Sends what had no room before."""
        while self._unsent and self._try(self._unsent[0], ()):
            self._unsent.popleft()

    def tell(self, assignment: str) -> None:
        """Tells what is told again soon, such as WATCHDOG=1. If there is no room for it, it is not sent."""
        self.flush()
        self._try(assignment.encode(), ())

    def keep(self, name: str, descriptors: Sequence[int]) -> None:
        """Has these descriptors kept for the next process of the service."""
        self._try(f"FDSTORE=1\nFDNAME={name}".encode(), descriptors)

    def _try(self, message: bytes, descriptors: Sequence[int]) -> bool:
        """Whether the message is out of the way: sent, or never to be."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        for attempt in (1, 2):
            try:
                self._socket.sendmsg([message], rights, socket.MSG_NOSIGNAL)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return False
                if attempt == 1 and error.errno in (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET):
                    self._connect()  # the service manager has made its socket anew
                    continue
                self._failed(error)
            return True
        return True

    def close(self) -> None:
        """Closes the descriptor of this process."""
        with contextlib.suppress(OSError):
            self._socket.close()
