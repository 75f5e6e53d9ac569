"""WIRE_POLICY, how a connection goes on: versions, expectations, timeouts, pipelines, upgrades, responses."""

from __future__ import annotations

import time

import pytest

from support.responses import only, parse, read_all
from support.waiting import wait_until
from support.wire import NEVER, Wire

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n"


def test_http_1_0_closes_unless_keep_alive_was_asked_for(wire: Wire) -> None:
    assert only(wire.server.raw(b"GET /x HTTP/1.0\r\n\r\n" + NEVER)).headers["connection"] == "close"
    assert wire.seen() == ["GET /x"]
    asked = b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    first, second, third = wire.accept(
        asked + asked + b"GET /y HTTP/1.0\r\n\r\n", "GET /x", "GET /x", "GET /y"
    )
    assert first.headers["connection"] == second.headers["connection"] == "keep-alive"
    assert third.headers["connection"] == "close"


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, close", b"close, keep-alive"])
def test_nothing_is_dispatched_after_connection_close(wire: Wire, value: bytes) -> None:
    response = only(wire.server.raw(GET + b"Connection: " + value + b"\r\n\r\n" + NEVER))
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert wire.seen() == ["GET /x"]


def test_nothing_is_dispatched_after_an_error_in_a_pipeline(wire: Wire) -> None:
    good = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    responses = parse(wire.server.raw(good % 1 + good % 2 + b"BAD\r\n\r\n" + NEVER))
    assert [response.status for response in responses] == [200, 200, 400]
    assert wire.seen() == ["GET /1", "GET /2"]


def test_nothing_is_dispatched_after_a_bad_body_in_a_pipeline(wire: Wire) -> None:
    bad = b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellooo\r\n0\r\n\r\n"
    responses = parse(wire.server.raw(GET + b"\r\n" + bad + NEVER))
    assert [response.status for response in responses] == [200, 400]
    assert wire.seen() == ["GET /x"]


def test_a_client_that_expects_is_told_to_continue(wire: Wire) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
    with wire.server.connect() as sock:
        sock.sendall(head + b"Connection: close\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert only(read_all(sock)).status == 200
    assert wire.seen() == ["POST /x"]


def test_a_body_that_comes_too_slowly_is_408(wire: Wire) -> None:
    head = b"POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    with wire.server.connect() as sock:
        sock.sendall(head + b"slow")
        response = only(read_all(sock))
    assert (response.status, response.headers["connection"]) == (408, "close")
    assert wire.seen() == []


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"", b"100 continue"])
def test_another_expectation_is_417(wire: Wire, value: bytes) -> None:
    wire.refuse(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: " + value + b"\r\nContent-Length: 5\r\n\r\n", 417)


def test_a_head_that_does_not_come_in_time_is_408(wire: Wire) -> None:
    began = time.monotonic()
    response = only(wire.server.raw(GET))
    took_s = time.monotonic() - began
    print(f"408 after {took_s:.2f} s")
    assert (response.status, response.headers["connection"]) == (408, "close")
    assert 0.3 <= took_s < 3
    assert wire.seen() == []


def test_a_head_of_one_byte_at_a_time_is_408(wire: Wire) -> None:
    began = time.monotonic()
    with wire.server.connect() as sock:
        sock.setblocking(False)
        drip = iter(GET + b"X: " + b"x" * 100_000)

        def response() -> bytes | None:
            sock.send(bytes([next(drip)]))
            try:
                return sock.recv(65536)
            except BlockingIOError:
                return None

        raw = wait_until(response, "a response") or b""
        sock.settimeout(5)
        raw += read_all(sock)
    assert only(raw).status == 408
    assert time.monotonic() - began < 3, "the clock begins with the first byte, not with each"
    assert wire.seen() == []


def test_the_time_for_a_head_begins_anew_with_each_request(wire: Wire) -> None:
    with wire.server.connect() as sock:
        for _ in range(3):
            sock.sendall(GET[:10])
            time.sleep(0.15)  # half of the header timeout, three times
            sock.sendall(GET[10:] + b"\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert wire.seen() == ["GET /x"] * 3


def test_an_upgrade_that_the_server_ignores_is_an_ordinary_request(wire: Wire) -> None:
    request = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    first, _ = wire.accept(request + request, "GET /x", "GET /x")
    assert "upgrade" not in first.headers
    (response,) = wire.accept(GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "GET /x")
    assert response.status == 200


def test_connect_is_405(wire: Wire) -> None:
    responses = parse(wire.server.raw(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", half_close=True))
    assert [response.status for response in responses] == [405]
    assert wire.seen() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"X-A", b"crlf"), (b"X-A", b"lf"), (b"X-A", b"nul"), (b"X A", b"plain"), (b"X:A", b"plain")],
)
def test_a_response_field_that_would_split_the_response_is_500_and_nothing_of_it_is_sent(
    wire: Wire, name: bytes, value: bytes
) -> None:
    inject = b"GET /inject HTTP/1.1\r\nHost: a\r\nX-Name: " + name + b"\r\nX-Value: " + value + b"\r\n\r\n"
    response = parse(wire.server.raw(inject, half_close=True))[0]
    assert response.status == 500
    assert "set-cookie" not in response.headers
    assert "x-a" not in response.headers
    assert b"never sent" not in response.body
    assert wire.seen() == []


def test_a_body_longer_than_its_length_is_cut_and_the_next_response_is_whole(wire: Wire) -> None:
    long = b"GET /promise/3/10 HTTP/1.1\r\nHost: a\r\n\r\n"
    first, second = parse(wire.server.raw(long + GET + b"\r\n", half_close=True))
    assert (first.body, second.status) == (b"xxx", 200)
    assert wire.seen() == ["GET /x"]
    wire.server.wait_log("7 bytes longer than its Content-Length")


def test_a_body_shorter_than_its_length_closes_the_connection(wire: Wire) -> None:
    raw = wire.server.raw(b"GET /promise/10/3 HTTP/1.1\r\nHost: a\r\n\r\n" + NEVER)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-length: 10" in head.lower()
    assert body == b"xxx"
    assert wire.seen() == []
    wire.server.wait_log("7 bytes shorter than its Content-Length")
