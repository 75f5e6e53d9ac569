"""A client of TLS 1.3 that seals whatever a test wants, right or wrong. Its cryptography is tlslite-ng's."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, NamedTuple, Self

from tlslite.api import HandshakeSettings, TLSConnection

from support.responses import Message, parse
from support.server import Server
from support.waiting import DEADLINE_S

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24

CLOSE_NOTIFY, FATAL = b"\x01\x00", 2
UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW = 10, 20, 22
ILLEGAL_PARAMETER, DECODE_ERROR = 47, 50

UPDATE, UPDATE_BOTH = b"\x18\0\0\x01\0", b"\x18\0\0\x01\x01"
"""KeyUpdate of our key alone, and with a request for the server's."""


class Received(NamedTuple):
    """What came until the server closed the connection: data, and the content of other records by type."""

    data: bytes
    others: list[tuple[int, bytes]]

    @property
    def alerts(self) -> list[bytes]:
        return [content for kind, content in self.others if kind == ALERT]

    @property
    def responses(self) -> list[Message]:
        return parse(self.data)


class Peer:
    """A connection after its handshake. What it receives must be whole: an end in a record fails the test."""

    def __init__(self, server: Server, cipher: str = "aes128gcm") -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=DEADLINE_S)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 4)
        settings.cipherNames = [cipher]
        self._tls: Any = TLSConnection(self.sock)
        self._tls.handshakeClientCert(settings=settings, serverName="localhost")
        self._layer: Any = self._tls._recordLayer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    # --- sending -----------------------------------------------------------------------------------------

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """The next record."""
        return self.seal_inner(content + bytes([kind]) + bytes(padding))

    def seal_inner(self, inner: bytes) -> bytes:
        """The next record, with this TLSInnerPlaintext (RFC 8446, section 5.2)."""
        return record(DATA, bytes(self._layer._encryptThenSeal(bytearray(inner), DATA)))

    def update(self, message: bytes = UPDATE) -> bytes:
        """A KeyUpdate. What is sealed afterwards is sealed with the next key."""
        sealed = self.seal(HANDSHAKE, message)
        self.change_key()
        return sealed

    def change_key(self) -> None:
        session = self._tls.session
        session.cl_app_secret, _ = self._layer.calcTLS1_3KeyUpdate_reciever(
            session.cipherSuite, session.cl_app_secret, session.sr_app_secret
        )

    def send(self, *records: bytes) -> None:
        self.sock.sendall(b"".join(records))

    # --- receiving ---------------------------------------------------------------------------------------

    def _read(self, size: int) -> bytes:
        """Fewer bytes at the end."""
        data = b""
        while len(data) < size and (more := self._tls.sock.recv(size - len(data))):
            data += more
        return data

    def next_record(self) -> tuple[int, bytes] | None:
        """The type and content of the next one that is no ticket. None: the connection is closed."""
        while header := self._read(5):
            assert header[:3] == b"\x17\x03\x03", header
            size = int.from_bytes(header[3:])
            sealed = self._read(size)
            assert len(sealed) == size, "truncated"
            layer = self._layer
            inner = bytes(layer._decryptAndUnseal(Header(size), bytearray(sealed))).rstrip(b"\0")
            content, kind = inner[:-1], inner[-1]
            if kind == HANDSHAKE and content[0] == KEY_UPDATE:
                session = self._tls.session
                _, session.sr_app_secret = layer.calcTLS1_3KeyUpdate_sender(
                    session.cipherSuite, session.cl_app_secret, session.sr_app_secret
                )
            if (kind, content[:1]) != (HANDSHAKE, bytes([NEW_SESSION_TICKET])):
                return kind, content
        return None

    def read_all(self) -> Received:
        """Everything until the server closes the connection."""
        data, others = b"", []
        while found := self.next_record():
            if found[0] == DATA:
                data += found[1]
            else:
                others.append(found)
        return Received(data, others)

    def exchange(self, *records: bytes) -> Received:
        """Sends these records and closes the sending side after them."""
        self.send(*records, self.seal(ALERT, CLOSE_NOTIFY))
        self.sock.shutdown(socket.SHUT_WR)
        return self.read_all()


class Header:
    """The header of a record, as tlslite-ng opens it."""

    type = DATA
    version = (3, 3)

    def __init__(self, length: int) -> None:
        self.length = length

    def write(self) -> bytearray:
        return bytearray(record(DATA, b"")[:3] + self.length.to_bytes(2))


def record(kind: int, content: bytes) -> bytes:
    """A record as it is, sealed or not."""
    return bytes([kind, 3, 3]) + len(content).to_bytes(2) + content
