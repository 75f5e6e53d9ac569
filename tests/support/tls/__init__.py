"""A certificate for localhost, and clients that trust it alone."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

CERT = Path(__file__).with_name("cert.pem")
KEY = Path(__file__).with_name("key.pem")
OPTIONS = ("--tls-cert", str(CERT), "--tls-key", str(KEY))

plain_and_tls = pytest.mark.parametrize("flags", [(), OPTIONS], ids=["plain", "TLS"])
"""The test is run with a server of each kind: it gives `flags` to it."""

V12 = ssl.TLSVersion.TLSv1_2
V13 = ssl.TLSVersion.TLSv1_3


def context(version: ssl.TLSVersion = V13, *protocols: str) -> ssl.SSLContext:
    """That of a client that speaks this version, and offers these protocols (ALPN)."""
    made = ssl.create_default_context(cafile=CERT)
    if protocols:
        made.set_alpn_protocols(protocols)
    made.minimum_version = made.maximum_version = version
    return made


def wrap(sock: socket.socket, version: ssl.TLSVersion = V13, *protocols: str) -> TlsSocket:
    """The connection after its handshake."""
    return TlsSocket(sock, context(version, *protocols))


HEADER = 5
"""Bytes of the header of a record (RFC 8446, section 5.1)."""


def missing(record: bytes) -> int:
    """How many bytes are missing of a record that has begun."""
    if len(record) < HEADER:
        return HEADER - len(record)
    return HEADER + int.from_bytes(record[3:HEADER], "big") - len(record)


class TlsSocket(socket.socket):
    """A client's connection. Unlike an `ssl.SSLSocket` it can close its sending side and read on, look at
    what comes without taking it (MSG_PEEK), and say what it would send (`sealed`). One thread may read while
    another one sends: an `ssl.SSLSocket` of CPython 3.11 lets both into OpenSSL's object, which is for one at
    a time, and a request may never be sent.

    Reading raises ssl.SSLEOFError if the server ends the connection without close_notify.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        timeout = sock.gettimeout()
        super().__init__(fileno=sock.detach())
        self.settimeout(timeout)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._using = threading.Lock()  # the three above
        self._sending = threading.RLock()  # records leave in the order of their sealing
        self._peeked = b""
        self._record, self._missing = b"", HEADER
        try:
            self._until_done(self.tls.do_handshake)
        except BaseException:
            self.close()
            raise

    def _until_done(self, step: Any, *arguments: Any) -> Any:
        """Calls `step` until it needs no more of the server."""
        while True:
            try:
                with self._using:
                    return step(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            finally:
                self._flush()

    def _flush(self) -> None:
        if not self._out.pending:
            return
        # What was received is read first.
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().sendall(self._sealed_records())

    def _sealed_records(self) -> bytes:
        with self._using:
            return self._out.read()

    def _feed(self) -> None:
        """As OpenSSL does by itself, it takes no more than a record from the system: a client that waits
        with select(2) hears of the next one.
        """
        data = super().recv(self._missing)
        self._record += data
        self._missing = missing(self._record)
        if not self._missing:
            self._record, self._missing = b"", HEADER
        with self._using:
            if data:
                self._in.write(data)
            else:
                self._in.write_eof()

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._until_done(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""
        return data

    def recv(self, size: int, flags: int = 0) -> bytes:
        assert flags in (0, socket.MSG_PEEK)
        if not self._peeked:
            self._peeked = self._read(max(size, 1))
        found = self._peeked[:size]
        if not flags:
            self._peeked = self._peeked[size:]
        return found

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def sealed(self, data: bytes) -> bytes:
        """The records of data that is to be sent with `send_sealed`."""
        self._flush()
        view = memoryview(data)
        with self._using:
            while view:
                view = view[self.tls.write(view) :]
            return self._out.read()

    def send_sealed(self, records: bytes) -> None:
        super().sendall(records)

    def sendall(self, data: Any, flags: int = 0) -> None:
        with self._sending:
            super().sendall(self.sealed(bytes(data)), flags)

    def send(self, data: Any, flags: int = 0) -> int:
        """Seals all of the data. The timeout holds for the whole of it."""
        self.sendall(data, flags)
        return len(data)

    def shutdown(self, how: int) -> None:
        """Of the sending side, by close_notify."""
        if how != socket.SHUT_RD:
            with self._using, contextlib.suppress(ssl.SSLError):  # the server has not closed its side
                self.tls.unwrap()
            self._flush()
        with contextlib.suppress(OSError):  # the server has closed both
            super().shutdown(how)
