"""HTTP/1.1 responses out of raw bytes, read as a suspicious client would.

It knows nothing of the server's own parser: what it takes for a response is RFC 9112's idea of one.
"""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


def parse(raw: bytes, *, bodiless: bool = False) -> list[Message]:
    """Every response in `raw`, in order; `bodiless` if all of them answer HEAD.

    Raises AssertionError for anything that is not a whole response.
    """
    found = []
    while raw:
        message, raw = _first(raw, bodiless)
        found.append(message)
    return found


def only(raw: bytes) -> Message:
    """The one response that `raw` must be."""
    found = parse(raw)
    assert len(found) == 1, raw[:500]
    return found[0]


def _first(raw: bytes, bodiless: bool) -> tuple[Message, bytes]:
    head, end, rest = raw.partition(b"\r\n\r\n")
    assert end, f"no end of a head: {raw[:500]!r}"
    line, *fields = head.decode("latin-1").split("\r\n")
    version, status, _ = line.split(" ", 2)
    assert version == "HTTP/1.1", line
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        assert colon, field
        assert name.lower() not in headers, f"twice: {field}"
        headers[name.lower()] = value.strip()
    code = int(status)
    if bodiless or code < 200 or code in (204, 304):
        return Message(code, headers, b""), rest
    body, rest = _body(headers, rest)
    return Message(code, headers, body), rest


def _body(headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    if "transfer-encoding" in headers:
        assert headers["transfer-encoding"] == "chunked"
        assert "content-length" not in headers
        return _chunks(rest)
    if "content-length" in headers:
        length = int(headers["content-length"])
        assert len(rest) >= length, f"{length - len(rest)} bytes of the body are missing"
        return rest[:length], rest[length:]
    assert headers.get("connection") == "close"
    return rest, b""


def _chunks(rest: bytes) -> tuple[bytes, bytes]:
    pieces, at = [], 0
    while True:
        end = rest.find(b"\r\n", at)
        assert end >= 0, "no end of a chunk line"
        size = int(rest[at:end], 16)
        piece = rest[end + 2 : end + 2 + size]
        assert len(piece) == size, "a chunk is cut short"
        at = end + 2 + size + 2
        assert rest[at - 2 : at] == b"\r\n", rest[at - 2 : at + 20]
        if size == 0:
            return b"".join(pieces), rest[at:]
        pieces.append(piece)
