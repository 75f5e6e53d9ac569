"""Headers of the PROXY protocol, versions 1 and 2, right or wrong."""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31
ALPN, AUTHORITY, UNIQUE_ID, SSL = 0x01, 0x02, 0x05, 0x20
CLIENT = "192.0.2.1"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n"


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


ENCRYPTED = tlv(SSL, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))
"""Says that the client speaks TLS."""

TELLING = (
    tlv(4, bytes(20))  # padding, which says nothing
    + tlv(ALPN, b"http/1.1")
    + tlv(AUTHORITY, b"a.example")
    + tlv(UNIQUE_ID, b"id-7\xff")
    + tlv(SSL, b"\x07\0\0\0\x12" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice") + tlv(0x23, b"AES"))
    + tlv(0xEA, b"\x01vpce-1")
)
TOLD = {
    "alpn": "http/1.1",
    "authority": "a.example",
    "unique_id": "id-7\xff",
    "ssl_verify": "18",
    "ssl_version": "TLSv1.3",
    "ssl_cn": "alice",
    "ssl_cipher": "AES",
    "0xea": "\x01vpce-1",
}
"""What `TELLING` says to an application."""


def version_2(
    command: int = PROXY, kind: int = TCP4, addresses: bytes | None = None, more: bytes = b""
) -> bytes:
    """A header of version 2, from `CLIENT` unless `addresses` are given."""
    if addresses is None:
        ports = struct.pack("!HH", 4711, 443)
        addresses = socket.inet_aton(CLIENT) + socket.inet_aton("198.51.100.1") + ports
    body = addresses + more
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


def version_2_of_ipv6(client: str) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, client)
    return version_2(kind=TCP6, addresses=packed + packed + struct.pack("!HH", 4711, 443))
