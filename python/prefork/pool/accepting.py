"""Accepts clients of the manager, also when the process has no descriptor left."""

from __future__ import annotations

import contextlib
import errno
import socket


class Accepting:
    """A listening socket that does not block."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._reserve = socket.socket(socket.AF_UNIX)

    def fileno(self) -> int:
        """Readable when a client has connected."""
        return self._listener.fileno()

    def accept(self) -> socket.socket | None:
        """The next client; None if there is none."""
        try:
            return self._listener.accept()[0]
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._refuse()
            return None

    def _refuse(self) -> None:
        """Out of descriptors: accepts one client with a descriptor kept in reserve, and closes it.

        A client that stays in the queue would keep the socket readable and the manager spinning.
        """
        self._reserve.close()
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = socket.socket(socket.AF_UNIX)

    def close(self) -> None:
        self._listener.close()
        self._reserve.close()
