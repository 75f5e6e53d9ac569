"""WIRE_POLICY, from the line ends to the target."""

from __future__ import annotations

import pytest

from support.wire import Wire

HOST = b"Host: a\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    ],
)
def test_a_bare_cr_or_lf_ends_no_line_of_a_head(wire: Wire, data: bytes) -> None:
    wire.refuse(data)


@pytest.mark.parametrize("byte", [b"\0", b"\x01", b"\x0b", b"\x1f", b"\x7f"])
@pytest.mark.parametrize(
    "place", [b"GET /%s HTTP/1.1\r\n", b"G%sT / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: a%sb\r\n"]
)
def test_a_control_byte_in_a_head_is_refused(wire: Wire, place: bytes, byte: bytes) -> None:
    wire.refuse(place % byte + HOST)


def test_one_empty_line_before_a_request_is_ignored(wire: Wire) -> None:
    wire.accept(b"\r\nGET /one HTTP/1.1\r\n" + HOST, "GET /one")
    wire.accept(
        b"POST /a HTTP/1.1\r\nContent-Length: 2\r\nHost: a\r\n\r\nhi\r\nGET /b HTTP/1.1\r\n" + HOST,
        "POST /a",
        "GET /b",
    )


@pytest.mark.parametrize("lines", [b"\r\n\r\n", b"\n", b"\r\r\n", b"\n\r\n"])
def test_more_than_one_empty_line_is_refused(wire: Wire, lines: bytes) -> None:
    wire.refuse(lines + b"GET / HTTP/1.1\r\n" + HOST)


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\t",
        b"GET / ",
        b"GET",
        b"/ HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"G(T) / HTTP/1.1",
        b"G\xc3\xa9T / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.",
        b"GET / HTTP/1.1.1",
        b"GET / HTTP/11",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP /1.1",
        b"GET / XTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01",  # the beginning of a TLS handshake
    ],
)
def test_a_request_line_of_another_form_is_refused(wire: Wire, line: bytes) -> None:
    wire.refuse(line + b"\r\n" + HOST)


def test_a_request_of_http_0_9_is_refused(wire: Wire) -> None:
    wire.refuse(b"GET /\r\n")


@pytest.mark.parametrize("version", [b"2.0", b"3.0", b"0.8", b"9.9"])
def test_another_major_version_is_505(wire: Wire, version: bytes) -> None:
    wire.refuse(b"GET / HTTP/" + version + b"\r\n" + HOST, 505)


@pytest.mark.parametrize("minor", range(1, 10))
def test_every_minor_version_of_1_is_served_as_1_1(wire: Wire, minor: int) -> None:
    line = f"GET /{minor} HTTP/1.{minor}\r\n".encode()
    wire.accept(2 * (line + HOST), f"GET /{minor}", f"GET /{minor}")


@pytest.mark.parametrize("method", [b"get", b"PATCH", b"X-Y_z!", b"A" * 200])
def test_any_token_is_a_method(wire: Wire, method: bytes) -> None:
    wire.accept(method + b" / HTTP/1.1\r\n" + HOST, f"{method.decode()} /")


@pytest.mark.parametrize(
    "line",
    [
        b"GET *",
        b"GET a",
        b"GET a:80",
        b"GET ?a",
        b"GET /\xff",
        b"GET /\xc3\xa9",
        b"GET /a#b",
        b"GET #",
        b"GET http://",
        b"GET http:///a",
        b"GET http://a b/",
        b"GET http://a#b",
        b"CONNECT /",
        b"CONNECT a",
        b"CONNECT http://a/",
        b"OPTIONS **",
    ],
)
def test_a_target_that_does_not_fit_is_refused(wire: Wire, line: bytes) -> None:
    wire.refuse(line + b" HTTP/1.1\r\n" + HOST)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (b"GET /a/%20b?c=d&e", "GET /a/ b"),
        (b"GET http://a/x?y", "GET /x"),
        (b"GET http://a", "GET /"),
        (b"GET HTTP://a/x", "GET /x"),
        (b"GET //b/c", "GET //b/c"),
        (b"OPTIONS *", "OPTIONS *"),
        (b"OPTIONS /x", "OPTIONS /x"),
    ],
)
def test_every_form_of_target_that_fits_is_served(wire: Wire, line: bytes, seen: str) -> None:
    wire.accept(line + b" HTTP/1.1\r\n" + HOST, seen)
