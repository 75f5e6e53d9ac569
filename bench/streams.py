"""The client's side of one connection of HTTP/2 (RFC 9113), without a socket: GET requests as frames, and the
ends of their responses.

It does little, so that it does not limit the server. Header blocks are written without a table, and of a
response's only the status is read: it comes first, and a server has it as an index.
"""

from __future__ import annotations

from bench.servers import FRAME_HEAD

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
REFUSED_STREAM = 7
START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WIDE = 1 << 30
METHOD_SCHEME_HOST = b"\x82\x86\x01\x09127.0.0.1"  # GET, http, :authority (RFC 7541 6.1, 6.2.2)
PATH, STATUS_200 = b"\x04", 0x88


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Streams:
    def __init__(self) -> None:
        self.is_draining = False
        """The server wants no further request here."""
        self._next = 1
        self._input = b""
        self._right: dict[int, bool] = {}
        """The open streams, and whether their responses are right so far."""

    def begin(self) -> bytes:
        """What comes first. The window of the connection is never used up."""
        return START + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, WIDE.to_bytes(4, "big"))

    def ask(self, path: str) -> tuple[int, bytes]:
        """The stream of a request, and its frames."""
        stream, self._next = self._next, self._next + 2
        self._right[stream] = False
        block = METHOD_SCHEME_HOST + PATH + bytes([len(path)]) + path.encode()
        return stream, frame(HEADERS, END_STREAM | END_HEADERS, stream, block)

    def read(self, received: bytes) -> tuple[list[tuple[int, bool | None]], bytes]:
        """The streams that have ended, each with whether its response is right, or None if it was refused
        and may be sent again; and what is to be sent.
        """
        data, at = self._input + received, 0
        ended: list[tuple[int, bool | None]] = []
        replies = b""
        while len(data) >= at + FRAME_HEAD:
            length = int.from_bytes(data[at : at + 3], "big")
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + FRAME_HEAD], "big")
            payload = data[at + FRAME_HEAD : at + FRAME_HEAD + length]
            if len(payload) < length:
                break
            at += FRAME_HEAD + length
            if kind == HEADERS:
                self._right[stream] = payload[0] == STATUS_200
            elif kind == RESET and stream in self._right:
                del self._right[stream]
                is_refused = int.from_bytes(payload, "big") == REFUSED_STREAM
                ended.append((stream, None if is_refused else False))
            elif kind == GOAWAY:
                self.is_draining = True
            elif kind in (SETTINGS, PING) and not flags & ACK:
                replies += frame(kind, ACK, 0, payload if kind == PING else b"")
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                ended.append((stream, self._right.pop(stream)))
        self._input = data[at:]
        return ended, replies
