"""Where a body ends: lengths, codings, chunks, trailers. Smuggling begins where two peers differ here."""

from __future__ import annotations

import pytest

from support.wire import NEVER, Wire

POST = b"POST /p HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"+5",
        b"-5",
        b"5 5",
        b"5,5",
        b"5, 5",
        b"0x5",
        b"5.0",
        b"5;",
        b"\xb2",
        b"18446744073709551616",
        b"99999999999999999999999999",
    ],
)
def test_a_content_length_that_is_no_number_is_refused(wire: Wire, value: bytes) -> None:
    wire.refuse(POST + b"Content-Length: " + value + b"\r\n\r\nhello")


@pytest.mark.parametrize("second", [b"5", b"6", b"05"])
def test_a_second_content_length_is_refused_also_when_equal(wire: Wire, second: bytes) -> None:
    wire.refuse(POST + b"Content-Length: 5\r\nContent-Length: " + second + b"\r\n\r\nhello")


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 0\r\ntransfer-encoding: Chunked\r\n",
    ],
)
def test_a_length_and_a_coding_together_are_refused(wire: Wire, fields: bytes) -> None:
    wire.refuse(POST + fields + b"\r\n0\r\n\r\n")


def test_a_coding_in_http_1_0_is_refused(wire: Wire) -> None:
    wire.refuse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("value", [b"gzip", b"identity", b"xchunked", b"gzip, chunked", b"gzip,chunked"])
def test_a_coding_that_some_other_server_may_know_is_501(wire: Wire, value: bytes) -> None:
    wire.refuse(POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", 501)


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: chunked;q=1\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: \r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_chunked_is_said_once_and_exactly(wire: Wire, fields: bytes) -> None:
    wire.refuse(POST + fields + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t"])
def test_chunked_in_any_case_is_read(wire: Wire, value: bytes) -> None:
    request = POST + b"Transfer-Encoding:" + value + b"\r\n\r\n5\r\nhello\r\n00A\r\n, world...\r\n0\r\n\r\n"
    first, second = wire.accept(request + NEVER, "POST /p", "GET /never")
    assert (first.body, second.body) == (b"hello, world...", b"")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"0x5",
        b"+5",
        b"-5",
        b" 5",
        b"5 ",
        b"5\t",
        b"5 ;a",
        b"5g",
        b"5,5",
        b"00000000000000005",
        b"10000000000000000",
        b"ffffffffffffffffff",
    ],
)
def test_a_chunk_size_of_another_form_is_refused(wire: Wire, line: bytes) -> None:
    wire.refuse(CHUNKED + line + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\rY: b\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;\0\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_chunk_lines_and_chunks_end_in_crlf(wire: Wire, body: bytes) -> None:
    wire.refuse(CHUNKED + body)


@pytest.mark.parametrize("extension", [b";a", b";a=b", b'; a = "b c" ;d', b";" + b"x" * 4000])
def test_a_chunk_extension_is_skipped(wire: Wire, extension: bytes) -> None:
    (response,) = wire.accept(
        CHUNKED + b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n", "POST /p"
    )
    assert response.body == b"hello"


@pytest.mark.parametrize(
    "extension", [b";", b";;a", b";=a", b";=[", b";a=", b';a="b', b";a b", b";a ", b";a=b,c", b";bad[=x"]
)
def test_a_chunk_extension_that_does_not_fit_the_grammar_is_refused(wire: Wire, extension: bytes) -> None:
    wire.refuse(CHUNKED + b"5" + extension + b"\r\nhello\r\n0\r\n\r\n")
    wire.refuse(CHUNKED + b"5\r\nhello\r\n0" + extension + b"\r\n\r\n")


def test_the_chunk_extensions_of_a_body_are_bounded_together(wire: Wire) -> None:
    chunk = b"1;" + b"x" * 1023 + b"\r\na\r\n"
    (response,) = wire.accept(CHUNKED + 16 * chunk + b"0\r\n\r\n", "POST /p")
    assert response.body == b"a" * 16
    wire.refuse(CHUNKED + 16 * chunk + b"0;x\r\n\r\n")


def test_a_chunk_line_over_4_kib_is_refused(wire: Wire) -> None:
    wire.refuse(CHUNKED + b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n")
    wire.refuse(CHUNKED + b"5;" + b"x" * 50_000)


def test_trailers_are_read_and_bounded(wire: Wire) -> None:
    (response,) = wire.accept(CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", "POST /p")
    assert response.body == b"hello"
    wire.refuse(CHUNKED + b"0\r\n" + (b"X: " + b"x" * 7000 + b"\r\n") * 10 + b"\r\n", 431)
    wire.refuse(CHUNKED + b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431)


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host", b"X Y", b" X", b""])
def test_a_trailer_that_frames_or_routes_is_refused(wire: Wire, name: bytes) -> None:
    wire.refuse(CHUNKED + b"0\r\n" + name + b": 5\r\n\r\n")


@pytest.mark.parametrize("name", [b"Content-Type", b"Vary", b"Authorization", b"Cache-Control"])
def test_any_other_trailer_is_dropped(wire: Wire, name: bytes) -> None:
    (response,) = wire.accept(CHUNKED + b"5\r\nhello\r\n0\r\n" + name + b": 5\r\n\r\n", "POST /p")
    assert response.body == b"hello"


def test_a_body_of_max_body_is_served_and_a_larger_one_is_413_before_it_is_read(wire: Wire) -> None:
    (response,) = wire.accept(POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, "POST /p")
    assert len(response.body) == 1000
    wire.refuse(POST + b"Content-Length: 1001\r\n\r\n", 413)


def test_a_chunked_body_that_grows_over_max_body_is_413(wire: Wire) -> None:
    chunk = b"fa\r\n" + b"x" * 250 + b"\r\n"
    (response,) = wire.accept(CHUNKED + 4 * chunk + b"0\r\n\r\n", "POST /p")
    assert len(response.body) == 1000
    wire.refuse(CHUNKED + 4 * chunk + b"1\r\nx\r\n0\r\n\r\n", 413)
    wire.refuse(CHUNKED + b"3e9\r\n", 413)
