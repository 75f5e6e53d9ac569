"""A WebSocket client that sends whatever a test wants, right or wrong (RFC 6455)."""

from __future__ import annotations

import socket
from typing import NamedTuple

from support.server import Server

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LAST = 0x80
KEY = b"\x37\xfa\x21\x3d"

OPENING = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
)


def frame(opcode: int, payload: bytes = b"", first: int = LAST) -> bytes:
    """A masked frame."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65536:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    mask = (KEY * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(length)
    return bytes([first | opcode]) + size + KEY + masked


class Frame(NamedTuple):
    """A frame that the server sent: its first byte, and its payload."""

    first: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2], "big")


class RawSocket:
    """A connection after its opening request: `head` and `status` are those of the response."""

    def __init__(self, server: Server, path: str = "/echo", fields: str = "", **settings: int) -> None:
        self.sock = server.connect()
        for name, value in settings.items():
            self.sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.sock.sendall(OPENING.format(path=path, fields=fields).encode())
        self._kept = b""
        while b"\r\n\r\n" not in self._kept:
            self._more()
        head, self._kept = self._kept.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.status = int(self.head.split(" ", 2)[1])

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def _more(self) -> None:
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError
        self._kept += piece

    def _take(self, count: int) -> bytes:
        while len(self._kept) < count:
            self._more()
        taken, self._kept = self._kept[:count], self._kept[count:]
        return taken

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self) -> Frame:
        """Return the next frame. Raise EOFError at the end."""
        first, length = self._take(2)
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        return Frame(first, self._take(length))

    def is_over(self) -> bool:
        """Wait for the end of the connection; False if a frame comes instead."""
        try:
            self.receive()
        except EOFError:
            return True
        return False
