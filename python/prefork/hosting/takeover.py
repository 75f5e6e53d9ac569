"""The connection of a WSGI request as a socket: for applications that speak WebSocket by themselves.

Always: the connection is in flight from the first use of its socket until the call ends or the application
closes it; a server that stops cuts it at the end of `graceful_timeout`.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import WriteableBuffer

    from prefork._engine import StartResponse


class ClientSocket:
    """`gunicorn.socket` and `werkzeug.socket` of an environ: its first use takes the connection over."""

    __slots__ = ("_response", "_socket")

    def __init__(self, response: StartResponse) -> None:
        self._response = response
        self._socket: TakenSocket | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # to copy or inspect an environ is no use of its socket
        return getattr(self._taken(), name)

    def __enter__(self) -> TakenSocket:
        return self._taken()

    def __exit__(self, *_: object) -> None:
        self._taken().close()

    def _taken(self) -> TakenSocket:
        if self._socket is None:
            descriptor, received = self._response.take_over()
            self._socket = TakenSocket(self._response, descriptor, received)
        return self._socket


class TakenSocket(socket.socket):
    """A connection that the application has taken over, in blocking mode.

    What the server had received after the request is read first, by any method that reads, and by a file of
    `makefile()`. What reads the descriptor itself does not see it, and select(2) does not report it.
    """

    def __init__(self, response: StartResponse, descriptor: int, received: bytes) -> None:
        self._response = response
        self._received = received
        super().__init__(fileno=descriptor)
        self.setblocking(True)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Reads as any socket does."""
        if not self._received:
            return super().recv(size, flags)
        found = self._received[:size]
        if not flags & socket.MSG_PEEK:
            self._received = self._received[size:]
        return found

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Reads as any socket does."""
        if not self._received:
            return super().recv_into(buffer, nbytes, flags)
        with memoryview(buffer).cast("B") as room:
            found = self.recv(nbytes or len(room), flags)
            room[: len(found)] = found
        return len(found)

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Reads as any socket does."""
        return (self.recv(size, flags), None) if self._received else super().recvfrom(size, flags)

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Reads as any socket does."""
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, size: int, room: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """Reads as any socket does."""
        if not self._received:
            return super().recvmsg(size, room, flags)
        return self.recv(size, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], room: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Any], int, Any]:
        """Reads as any socket does. What the server had received fills the first buffer alone."""
        if not self._received:
            return super().recvmsg_into(buffers, room, flags)
        return self.recv_into(next(iter(buffers)), 0, flags), [], 0, None

    def detach(self) -> int:
        """Gives the descriptor away, as ssl.wrap_socket and an asyncio transport do.

        Raises OSError if what the server had received would be lost.
        """
        if self._received:
            raise OSError(
                f"the server has received {len(self._received)} bytes of this connection, which its "
                "descriptor does not have: read them first, with recv()"
            )
        return super().detach()

    def dup(self) -> socket.socket:  # type: ignore[override]
        """A plain socket of the same connection. What the server had received stays with this one."""
        copy = socket.socket(self.family, self.type, self.proto, fileno=socket.dup(self.fileno()))
        copy.settimeout(self.gettimeout())
        return copy

    def close(self) -> None:
        """Ends the connection, when the last file of `makefile()` is closed too."""
        super().close()
        if self.fileno() == -1:
            self._response.end_takeover()

    def __del__(self) -> None:
        self.close()
