"""HTTP/1.1 responses, read from raw bytes or from a socket as a strict client reads them (RFC 9112).

It must not use the server's own parser.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import NamedTuple


class Message(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


def parse(raw: bytes, *, bodiless: bool = False) -> list[Message]:
    """Return every response in `raw`, in order; `bodiless` if all of them are for HEAD.

    Raise AssertionError for anything that is not a whole response.
    """
    found, at = [], 0
    while at < len(raw):
        status, headers, at = _head(raw, at)
        body = b""
        if not (bodiless or status < 200 or status in (204, 304)):
            body, at = _body(headers, raw, at)
        found.append(Message(status, headers, body))
    return found


def only(raw: bytes) -> Message:
    """Return the one response that `raw` must be."""
    found = parse(raw)
    assert len(found) == 1, raw[:500]
    return found[0]


def read_all(sock: socket.socket) -> bytes:
    """Read until the peer closes."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            received += piece
    return bytes(received)


def read_until_reset(sock: socket.socket) -> bytes:
    """Read until the peer resets the connection. Raise AssertionError if it ends the stream instead."""
    received = bytearray()
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        return bytes(received)
    raise AssertionError(f"the stream ended, after {received[-500:]!r}")


def read_response(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one response of a connection that stays open: status, header fields (lower case), body."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    fields = {name.lower(): value for name, value in response.getheaders()}
    return response.status, fields, response.read()


def _until(mark: bytes, raw: bytes, at: int) -> tuple[str, int]:
    end = raw.find(mark, at)
    assert end >= 0, f"no {mark!r} after {raw[at : at + 500]!r}"
    return raw[at:end].decode("latin-1"), end + len(mark)


def _head(raw: bytes, at: int) -> tuple[int, dict[str, str], int]:
    head, at = _until(b"\r\n\r\n", raw, at)
    line, *fields = head.split("\r\n")
    version, status, _ = line.split(" ", 2)
    assert version == "HTTP/1.1", line
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        assert colon, field
        assert name.lower() not in headers, f"twice: {field}"
        headers[name.lower()] = value.strip()
    return int(status), headers, at


def _body(headers: dict[str, str], raw: bytes, at: int) -> tuple[bytes, int]:
    if "transfer-encoding" in headers:
        assert headers["transfer-encoding"] == "chunked"
        assert "content-length" not in headers
        return _chunks(raw, at)
    if "content-length" in headers:
        end = at + int(headers["content-length"])
        assert len(raw) >= end, f"{end - len(raw)} bytes of the body are missing"
        return raw[at:end], end
    assert headers.get("connection") == "close"
    return raw[at:], len(raw)


def _chunks(raw: bytes, at: int) -> tuple[bytes, int]:
    pieces: list[bytes] = []
    while True:
        line, at = _until(b"\r\n", raw, at)
        size = int(line, 16)
        piece = raw[at : at + size]
        assert len(piece) == size, "a chunk is cut short"
        at += size + 2
        assert raw[at - 2 : at] == b"\r\n", raw[at - 2 : at + 20]
        if size == 0:
            return b"".join(pieces), at
        pieces.append(piece)
