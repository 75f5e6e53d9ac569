"""WIRE_POLICY over HTTP/2: bodies and their lengths, trailers, frames, the beginning and the end."""

from __future__ import annotations

import socket
import time

import pytest

from support.apps import APPS
from support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Http2Client,
    frame,
    http2,
)
from support.responses import read_all
from support.server import Serve
from support.streams import Streams
from wire.conftest import HTTP2_WAYS

EVERY_WAY = pytest.mark.parametrize("way", HTTP2_WAYS.values(), ids=HTTP2_WAYS)
LARGEST_WINDOW = 0x7FFF_FFFF


# --- bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "+5",
        "-5",
        "5 5",
        "5,5",
        "5, 5",
        "0x5",
        "5.0",
        "5;",
        "\u00b2",
        "18446744073709551616",
        "9" * 26,
    ],
)
def test_a_content_length_that_is_no_number_is_refused(streams: Streams, value: str) -> None:
    streams.refuse([("content-length", value)], method="POST", body=b"hello")


@pytest.mark.parametrize("second", ["5", "6", "05"])
def test_a_second_content_length_is_refused_also_when_equal(streams: Streams, second: str) -> None:
    fields = [("content-length", "5"), ("content-length", second)]
    streams.refuse(fields, method="POST", body=b"hello")


@pytest.mark.parametrize(("length", "body"), [("3", b"1234"), ("3", b"12"), ("1", b""), ("1", None)])
def test_data_that_does_not_match_the_content_length_is_refused(
    streams: Streams, length: str, body: bytes | None
) -> None:
    with streams.connection() as client:
        stream = client.ask("/x", "POST", [("content-length", length)], body=body)
        assert client.response(stream).reset == PROTOCOL_ERROR
        assert client.get("/y").status == 200
    assert streams.seen() == ["GET /y"]


def test_data_behind_a_content_length_of_0_reaches_no_handler(streams: Streams) -> None:
    """The response may have gone before it came."""
    with streams.connection() as client:
        response = client.response(client.ask("/x", "POST", [("content-length", "0")], body=b"x"))
        assert response.reset == PROTOCOL_ERROR or (response.status, response.body) == (200, b"")
        assert client.get("/y").status == 200
    assert streams.seen() in (["GET /y"], ["POST /x", "GET /y"])


def test_a_body_with_and_without_a_length(streams: Streams) -> None:
    for fields in ([], [("content-length", "5")]):
        assert streams.accept("POST /x", fields, method="POST", body=b"hello").body == b"hello"
    streams.accept("POST /x", [("content-length", "0")], method="POST")


def test_padding_is_no_part_of_a_body(streams: Streams) -> None:
    with streams.connection() as client:
        stream = client.ask("/x", "POST", [("content-length", "5")], ended=False)
        client.send(DATA, PADDED, stream, b"\x03he" + bytes(3))
        client.send(DATA, PADDED, stream, b"\x00llo")
        client.send(DATA, PADDED | END_STREAM, stream, b"\xff" + bytes(255))
        assert client.response(stream).body == b"hello"
    assert streams.seen() == ["POST /x"]


def test_a_body_over_max_body_is_413(streams: Streams) -> None:
    assert len(streams.accept("POST /x", method="POST", body=b"x" * 1000).body) == 1000
    streams.refuse([("content-length", "1001")], 413, method="POST", body=b"x" * 1001)
    streams.refuse(status=413, method="POST", body=b"x" * 1001)


def test_more_of_a_body_that_is_refused_changes_nothing(streams: Streams) -> None:
    """The response waits for a window, so the stream is open still."""
    streams.server.forget_output()
    with http2(streams.server, window=0) as client:
        for number, fields in enumerate([[], [("content-length", "1001")], [("expect", "miracles")]]):
            stream = client.ask("/x", "POST", fields, ended=False)
            for _ in range(3):
                client.send(DATA, 0, stream, b"x" * 1001)
            client.ping()
            client.open_window(stream, 1000)
            assert client.response(stream).status == (417 if number == 2 else 413)
        client.open_window(client.ask("/x"), 1000)
        assert client.response(client.next_stream - 2).status == 200
    assert streams.seen() == ["GET /x"]
    assert "ERROR" not in streams.server.log


def test_a_client_that_expects_is_told_to_continue(streams: Streams) -> None:
    with streams.connection() as client:
        stream = client.ask("/x", "POST", [("expect", "100-continue")], ended=False)
        while not client.streams[stream].interim:
            client.read_frame()
        client.send(DATA, END_STREAM, stream, b"hello")
        assert client.response(stream).body == b"hello"
        assert client.streams[stream].interim == [(100, {})]
    assert streams.seen() == ["POST /x"]


# --- trailers ----------------------------------------------------------------------------------------------


def send_trailers(client: Http2Client, *fields: tuple[str, str], flags: int = END_STREAM) -> int:
    stream = client.ask("/x", "POST", ended=False)
    client.send(DATA, 0, stream, b"hello")
    client.send_block(stream, client.encoder.encode(fields), flags)
    return stream


@pytest.mark.parametrize("name", ["x-sum", "content-type", "vary", "authorization", "cache-control"])
def test_trailers_are_dropped(streams: Streams, name: str) -> None:
    with streams.connection() as client:
        assert client.response(send_trailers(client, (name, "5"))).body == b"hello"
    assert streams.seen() == ["POST /x"]


@pytest.mark.parametrize(
    "name",
    [
        "content-length",
        "host",
        "transfer-encoding",
        "connection",
        "te",
        ":path",
        ":status",
        ":x",
        "X-Sum",
        "x y",
    ],
)
def test_a_trailer_that_frames_or_routes_is_refused(streams: Streams, name: str) -> None:
    with streams.connection() as client:
        for _ in range(2):
            stream = send_trailers(client, ("x", "y"), (name, "5"))
            assert client.response(stream).reset == PROTOCOL_ERROR
        assert client.get("/y").status == 200
    assert streams.seen() == ["GET /y"]


def test_trailers_are_bounded_and_end_the_stream(streams: Streams) -> None:
    with streams.connection() as client:
        for stream in (
            send_trailers(client, *[("x", "x" * 7000)] * 10),
            send_trailers(client, *[("x", "y")] * 200),
            send_trailers(client, ("x", "y"), flags=0),
        ):
            assert client.response(stream).reset == PROTOCOL_ERROR
        assert client.get("/y").status == 200
    assert streams.seen() == ["GET /y"]


# --- frames that have no place -----------------------------------------------------------------------------


def test_what_comes_after_the_end_of_a_stream_is_refused(serve: Serve) -> None:
    """The stream is open still: its response waits for a window."""
    server = serve(APPS / "wire_app.py", "--workers", "1", "--h2c")
    block = [("x", "y")]
    with http2(server, window=0) as client:
        for kind in (DATA, HEADERS):
            stream = client.ask("/fields")
            payload = client.encoder.encode(block) if kind == HEADERS else b"more"
            client.send(kind, END_STREAM | END_HEADERS, stream, payload)
            assert client.response(stream).reset == STREAM_CLOSED
    with http2(server) as client:
        stream = client.ask("/x")
        client.response(stream)
        client.send(DATA, END_STREAM, stream, b"more")
        client.read_to_end()
        assert client.goaway is not None
        assert client.goaway.code == STREAM_CLOSED


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ((DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        ((DATA, 0, 1, b"x"), PROTOCOL_ERROR),  # idle
        ((DATA, 0, 2, b"x"), PROTOCOL_ERROR),
        ((DATA, PADDED, 1, b""), FRAME_SIZE_ERROR),
        ((DATA, PADDED, 1, b"\x02x"), PROTOCOL_ERROR),
        ((HEADERS, END_HEADERS, 0, b"\x82"), PROTOCOL_ERROR),
        ((HEADERS, END_HEADERS, 2, b"\x82"), PROTOCOL_ERROR),
        ((HEADERS, END_HEADERS | PADDED, 1, b"\x09\x82"), PROTOCOL_ERROR),
        ((HEADERS, END_HEADERS | 32, 1, b"\0\0\0"), FRAME_SIZE_ERROR),
        ((CONTINUATION, END_HEADERS, 1, b"\x82"), PROTOCOL_ERROR),
        ((RST_STREAM, 0, 1, bytes(4)), PROTOCOL_ERROR),
        ((RST_STREAM, 0, 0, bytes(4)), PROTOCOL_ERROR),
        ((RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
        ((SETTINGS, 0, 1, b""), PROTOCOL_ERROR),
        ((SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
        ((SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
        ((SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), PROTOCOL_ERROR),  # ENABLE_PUSH
        ((SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), FLOW_CONTROL_ERROR),  # INITIAL_WINDOW_SIZE
        ((SETTINGS, 0, 0, b"\0\x05\0\0\x3f\xff"), PROTOCOL_ERROR),  # MAX_FRAME_SIZE
        ((SETTINGS, 0, 0, b"\0\x05\x01\0\0\0"), PROTOCOL_ERROR),
        ((SETTINGS, 0, 0, b"\0\x08\0\0\0\x02"), PROTOCOL_ERROR),  # ENABLE_CONNECT_PROTOCOL
        ((PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR),
        ((PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
        ((PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
        ((PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
        ((PRIORITY_UPDATE, 0, 1, bytes(4)), PROTOCOL_ERROR),
        ((PRIORITY_UPDATE, 0, 0, bytes(4)), PROTOCOL_ERROR),
        ((PRIORITY_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
        ((WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL_ERROR),
        ((WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
        ((WINDOW_UPDATE, 0, 0, LARGEST_WINDOW.to_bytes(4, "big")), FLOW_CONTROL_ERROR),
        ((WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"), PROTOCOL_ERROR),  # idle
        ((DATA, 0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
        ((200, 0, 0, bytes(16_385)), FRAME_SIZE_ERROR),
    ],
)
def test_a_frame_that_breaks_the_rules_ends_the_connection(
    streams: Streams, sent: tuple[int, int, int, bytes], code: int
) -> None:
    with streams.connection() as client:
        client.ping()
        client.send(*sent)
        client.ask("/never")
        goaway = streams.end(client)
        assert goaway is not None
        assert goaway.code == code
    assert streams.seen() == []


@pytest.mark.parametrize(
    "between",
    [frame(PING, 0, 0, bytes(8)), frame(CONTINUATION, END_HEADERS, 3, b""), frame(200, 0, 0, b"")],
)
def test_nothing_comes_between_the_parts_of_a_header_block(streams: Streams, between: bytes) -> None:
    with streams.connection() as client:
        client.send(HEADERS, END_STREAM, 1, b"\x82\x86")
        client.sock.sendall(between)
        client.send(CONTINUATION, END_HEADERS, 1, b"\x84\x01\x01a")
        goaway = streams.end(client)
        assert goaway is not None
        assert goaway.code == PROTOCOL_ERROR
    assert streams.seen() == []


def test_a_header_block_may_come_in_parts(streams: Streams) -> None:
    block = b"\x82\x86\x84\x01\x01a"
    with streams.connection() as client:
        stream = client.ask("/x")
        client.response(stream)
        client.next_stream = 5
        client.send(HEADERS, END_STREAM, 3, block[:1])
        for at in range(1, len(block)):
            last = END_HEADERS if at == len(block) - 1 else 0
            client.send(CONTINUATION, last, 3, block[at : at + 1])
        client.ping()
        assert client.response(3).status == 200
    assert streams.seen() == ["GET /x", "GET /"]


def test_what_nothing_is_known_of_is_ignored(streams: Streams) -> None:
    """Unknown frames, flags, settings and reserved bits; priorities of streams that are not there."""
    with streams.connection() as client:
        client.send(200, 0xFF, 0, b"?")
        client.send(200, 0xFF, 0x8000_0005, b"?")
        client.send(PRIORITY_UPDATE, 0, 0, (1001).to_bytes(4, "big") + b"u=0, i")
        client.send(PRIORITY_UPDATE, 0, 0, (1001).to_bytes(4, "big") + b"\xff\0garbage")
        client.send(PRIORITY, 0, 1001, bytes(5))
        client.send(SETTINGS, 0, 0, b"\xff\xff\0\0\0\1" * 100)
        client.send(SETTINGS, 0xF0, 0x8000_0000)
        client.send(PING, 0xF0, 0x8000_0000, bytes(8))
        assert client.get("/x").status == 200
    assert streams.seen() == ["GET /x"]


def test_settings_may_fill_a_frame(streams: Streams) -> None:
    with streams.connection() as client:
        client.ask("/x")
        sizes = [(4).to_bytes(2, "big") + (at % 2 * LARGEST_WINDOW).to_bytes(4, "big") for at in range(2730)]
        client.send(SETTINGS, 0, 0, b"".join(sizes))
        assert client.response(1).status == 200
    assert streams.seen() == ["GET /x"]


@pytest.mark.parametrize("stream", [1, 0])
def test_a_window_that_grows_too_large(streams: Streams, stream: int) -> None:
    with http2(streams.server, window=0) as client:
        client.ask("/x")
        client.open_window(stream, LARGEST_WINDOW)
        client.open_window(stream, LARGEST_WINDOW)
        if stream:
            # The response may have gone with the first of them.
            response = client.response(1)
            assert response.ended or response.reset == FLOW_CONTROL_ERROR
        else:
            goaway = streams.end(client)
            assert goaway is not None
            assert goaway.code == FLOW_CONTROL_ERROR
    streams.seen()


def test_more_data_than_the_window_ends_the_stream(streams: Streams) -> None:
    with http2(streams.server, window=0) as client:
        stream = client.ask("/x", "POST", ended=False)
        for _ in range(20):
            client.send(DATA, 0, stream, bytes(16_000))
        assert client.response(stream).reset == FLOW_CONTROL_ERROR
        assert client.response(client.ask("/x", "HEAD")).status == 200
    assert streams.seen() == ["HEAD /x"]


@EVERY_WAY
def test_streams_beyond_the_limit_are_refused(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve(APPS / "http2_asgi.py", "--workers", "1", *way)
    with http2(server) as client:
        held = [client.ask("/hold") for _ in range(140)]
        client.ping()
        assert [client.streams[stream].reset for stream in held[128:]] == [REFUSED_STREAM] * 12
        client.reset(held[0])
        assert client.get("/").status == 200
        client.get("/release")
        assert {client.response(stream).body for stream in held[1:128]} == {b"released"}


def test_a_stream_with_a_lower_number_ends_the_connection(streams: Streams) -> None:
    with streams.connection() as client:
        client.next_stream = 5
        assert client.get("/x").status == 200
        client.next_stream = 3
        client.ask("/never")
        goaway = streams.end(client)
        assert goaway is not None
        assert goaway.code in (PROTOCOL_ERROR, STREAM_CLOSED)
    assert streams.seen() == ["GET /x"]


# --- responses ---------------------------------------------------------------------------------------------


def test_a_body_longer_than_its_length_is_cut_and_the_next_response_is_whole(streams: Streams) -> None:
    with streams.connection() as client:
        assert client.get("/promise/3/10").body == b"xxx"
        assert client.get("/x").status == 200
    assert streams.seen() == ["GET /x"]
    streams.server.wait_log("7 bytes longer than its Content-Length")


def test_a_body_shorter_than_its_length_resets_its_stream(streams: Streams) -> None:
    with streams.connection() as client:
        response = client.get("/promise/10/3")
        assert (response.body, response.reset) == (b"xxx", INTERNAL_ERROR)
        assert client.get("/x").status == 200
    assert streams.seen() == ["GET /x"]
    streams.server.wait_log("7 bytes shorter than its Content-Length")


# --- the beginning and the end -----------------------------------------------------------------------------


def connect(streams: Streams) -> socket.socket:
    return streams.server.connect(20, "h2")


@pytest.mark.parametrize(
    "sent",
    [
        PREFACE + frame(PING, 0, 0, bytes(8)),
        PREFACE + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x86\x84\x01\x01a"),
        PREFACE + frame(SETTINGS, ACK, 0, b""),
        PREFACE + PREFACE,
    ],
)
def test_settings_come_first(streams: Streams, sent: bytes) -> None:
    with connect(streams) as sock:
        sock.sendall(sent)
        assert read_all(sock)[3] == SETTINGS
    assert streams.seen() == []


def test_half_a_preface_and_something_else(streams: Streams) -> None:
    for other in (
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with connect(streams) as sock:
            sock.sendall(other + frame(SETTINGS, 0, 0, b""))
            assert b" 200 " not in read_all(sock)
    assert streams.seen() == []


@pytest.mark.parametrize("sent", [b"", PREFACE[:20], PREFACE, PREFACE + b"\0\0\6\4\0\0\0\0\0\0"])
def test_a_preface_that_does_not_come_in_time_ends_the_connection(streams: Streams, sent: bytes) -> None:
    began = time.monotonic()
    with connect(streams) as sock:
        if not sent and streams.server.url.startswith("http:"):
            sent = PREFACE[:1]  # a connection that sends nothing may be one of HTTP/1.1 that idles
        sock.sendall(sent)
        read_all(sock)
    assert 0.2 < time.monotonic() - began < 10
    assert streams.seen() == []


@pytest.mark.parametrize("sent", [PREFACE[:1], PREFACE[:20], PREFACE])
def test_a_preface_that_does_not_come_in_time_is_one_line(streams: Streams, sent: bytes) -> None:
    streams.server.forget_output()
    with connect(streams) as sock:
        sock.sendall(sent)
        read_all(sock)
    a_line(streams, "the HTTP/2 preface was not complete in time")


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (PREFACE[:1], "the HTTP/2 preface"),
        (PREFACE[:20], "the HTTP/2 preface"),
        (PREFACE + b"\0\0\6\4\0\0\0\0\0\0", "the HTTP/2 preface"),
        (PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, b"\x82"), "a request head"),
        (PREFACE + frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, bytes(8))[:-1], "a frame"),
    ],
)
def test_a_client_that_leaves_in_the_middle_is_one_line(streams: Streams, sent: bytes, where: str) -> None:
    streams.server.forget_output()
    with connect(streams) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)
    a_line(streams, f"the client left in the middle of {where}")


def test_a_client_that_leaves_between_frames_is_none(streams: Streams) -> None:
    streams.server.forget_output()
    with streams.connection() as client:
        client.ping()
    streams.server.wait_idle()
    assert streams.server.err == []


def a_line(streams: Streams, reason: str) -> None:
    """There is one line, and it says this."""
    assert f"INFO prefork.server: client 127.0.0.1: {reason}" in streams.server.wait_log(reason)
    assert len(streams.server.err) == 1
    assert streams.seen() == []


def test_a_header_block_that_does_not_come_in_time_ends_the_connection(streams: Streams) -> None:
    with streams.connection() as client:
        assert client.get("/x").status == 200
        client.send(HEADERS, 0, 3, b"\x82")
        client.read_to_end()
    assert streams.seen() == ["GET /x"]


@EVERY_WAY
def test_a_body_that_comes_too_slowly_is_408(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve(APPS / "http2_wsgi.py", "--workers", "1", "--body-min-rate", "1000000", *way)
    with http2(server) as client:
        stream = client.ask("/hash", "POST", ended=False)
        client.send(DATA, 0, stream, b"slow")
        assert client.response(stream).status == 408
        assert client.get("/").status == 200


def test_a_client_that_closes_its_side_gets_its_responses(streams: Streams) -> None:
    with streams.connection() as client:
        client.ping()
        asked = [client.ask("/x") for _ in range(3)]
        client.sock.shutdown(socket.SHUT_WR)
        client.opens_windows = False
        assert {client.response(stream).status for stream in asked} == {200}
    assert streams.seen() == ["GET /x"] * 3


def test_a_goaway_of_the_client_ends_nothing(streams: Streams) -> None:
    with streams.connection() as client:
        stream = client.ask("/x", "POST", ended=False)
        client.send(7, 0, 0, bytes(8) + b"I leave")
        client.send(DATA, END_STREAM, stream, b"hello")
        assert client.response(stream).body == b"hello"
    assert streams.seen() == ["POST /x"]


def test_nothing_is_dispatched_after_an_error_of_the_connection(streams: Streams) -> None:
    with streams.connection() as client:
        ask = client.encoder.encode(
            [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a")]
        )
        whole = END_HEADERS | END_STREAM
        sent = frame(HEADERS, whole, 1, ask) + frame(DATA, 0, 0, b"x") + frame(HEADERS, whole, 3, b"\x82")
        client.sock.sendall(sent)
        goaway = streams.end(client)
        assert goaway is not None
        assert goaway.code == PROTOCOL_ERROR
    assert streams.seen() in ([], ["GET /x"])
    with streams.connection() as client:
        assert client.get("/y").status == 200
        assert client.goaway is None or client.goaway.code == NO_ERROR
    assert streams.seen() == ["GET /y"]
