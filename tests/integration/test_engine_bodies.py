"""Request bodies: when they are received, where they are kept, how large and how slow they may be."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from support.apps import APPS
from support.responses import only, parse, read_all
from support.server import Serve, Server

APP = APPS / "engine_bodies.py"

CHUNKED = "Transfer-Encoding: chunked\r\n"


def head(path: str, fields: str = "", length: int | None = None) -> bytes:
    framing = "" if length is None else f"Content-Length: {length}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{framing}{fields}\r\n".encode()


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_100_continue_is_sent_when_a_handler_wants_the_body(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as sock:
        sock.sendall(head("/length", "Expect: 100-continue\r\n", 5))
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert only(sock.recv(65536)).body == b"5"
        sock.sendall(head("/length", "expect: 100-Continue\r\n" + CHUNKED))
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"2\r\nhi\r\n0\r\n\r\n")
        assert only(sock.recv(65536)).body == b"2"


def test_404_comes_without_100_and_without_waiting_for_the_body(serve: Serve) -> None:
    server = serve(APP)
    response = only(server.raw(head("/missing", "Expect: 100-continue\r\n", 1_000_000)))
    assert (response.status, response.headers["connection"]) == (404, "close")


def test_http_1_0_never_gets_100(serve: Serve) -> None:
    server = serve(APP)
    request = b"POST /length HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    assert only(server.raw(request)).body == b"2"


def test_413_comes_without_100(serve: Serve) -> None:
    server = serve(APP, "--max-body", "1000")
    response = only(server.raw(head("/length", "Expect: 100-continue\r\n", 1001)))
    assert (response.status, response.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("size", [0, 1, 4095, 65535, 65536, 65537, 262_143, 262_144, 262_145, 3_000_000])
def test_a_body_of_any_size_arrives_as_it_was_sent(serve: Serve, size: int) -> None:
    server = serve(APP)
    body = os.urandom(size)
    expected = hashlib.sha256(body).hexdigest().encode()
    plain = head("/hash", length=size) + body
    pieces = head("/hash", CHUNKED) + chunked(body, 50_001)
    crumbs = head("/hash", CHUNKED) + chunked(body[:5000], 3)
    first, second, third = parse(server.raw(plain + pieces + crumbs, half_close=True))
    assert (first.body, second.body) == (expected, expected)
    assert third.body == hashlib.sha256(body[:5000]).hexdigest().encode()


def test_a_body_above_the_limit_is_in_a_file_and_below_it_is_not(serve: Serve) -> None:
    server = serve(APP, "--spool-above", "1000")
    with server.connect() as sock:
        for size, files in ((1000, b"0"), (1001, b"1"), (10, b"0")):
            sock.sendall(head("/where", length=size) + b"x" * size)
            assert only(sock.recv(65536)).body == files


def test_a_spooled_body_can_be_read_twice_at_once(serve: Serve) -> None:
    for above in ("1", "1m"):
        server = serve(APP, "--spool-above", above)
        response = only(server.raw(head("/twice", length=10) + b"0123456789", half_close=True))
        assert response.body == b'["012", "012", "345", 10, true]'


def test_a_large_upload_costs_no_memory(serve: Serve) -> None:
    server = serve(APP)
    process = psutil.Process(server.pid)
    server.request("/hash", "POST", b"x" * 1_000_000)
    before = process.memory_info().rss
    size, block = 64 * 1024 * 1024, b"x" * 65536
    with server.connect() as sock:
        sock.sendall(head("/hash", length=size))
        digest = hashlib.sha256()
        for _ in range(size // len(block)):
            sock.sendall(block)
            digest.update(block)
        grown = process.memory_info().rss - before
        assert only(sock.recv(65536)).body == digest.hexdigest().encode()
    print(f"{grown} bytes more for {size}")
    assert grown < 4_000_000
    assert process.memory_info().rss - before < 4_000_000


@pytest.mark.parametrize("path", ["/missing", "/length"], ids=["404", "413"])
def test_a_client_that_sends_on_after_its_refusal_is_not_reset(serve: Serve, path: str) -> None:
    """A reset could overtake the response (RFC 9112, section 9.6)."""
    server = serve(APP, "--max-body", "2000000" if path == "/missing" else "1000")
    with server.connect() as sock:
        sock.sendall(head(path, length=1_000_000))
        assert only(read_all(sock)).headers["connection"] == "close"
        for _ in range(10):
            sock.sendall(b"x" * 100_000)


def test_a_body_that_cannot_be_kept_is_507_and_said(serve: Serve, tmp_path: object) -> None:
    spool = f"{tmp_path}/spool"
    os.mkdir(spool)
    server = serve(APP, "--spool-dir", spool, "--spool-above", "10")
    os.rmdir(spool)
    response = only(server.raw(head("/length", length=20) + b"x" * 20))
    assert (response.status, response.headers["connection"]) == (507, "close")
    server.wait_log("could not be stored")
    assert server.request("/length", "POST", b"short")[2] == b"5"


def drip(server: Server, request: bytes, piece: bytes, pause_s: float) -> tuple[bytes, float]:
    """Sends `piece` again and again; the response, and how long it took to come."""
    with server.connect() as sock:
        sock.sendall(request)
        began = time.monotonic()
        sock.settimeout(pause_s)
        while time.monotonic() - began < 20:
            try:
                first = sock.recv(65536)
            except TimeoutError:
                sock.sendall(piece)
            else:
                sock.settimeout(10)
                return first + read_all(sock), time.monotonic() - began
    raise AssertionError("no response")


def send_at_least_pace(server: Server) -> tuple[bytes, float]:
    """Send a body at 1000 bytes in a second; the response, and how long it took to come."""
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(head("/length", length=6000))
        began = time.monotonic()
        for _ in range(60):
            sock.sendall(b"x" * 100)
            time.sleep(0.1)  # the pace is what is tested
        return sock.recv(65536), time.monotonic() - began


def test_a_body_below_the_least_pace_is_408_and_one_at_it_is_served_however_long_it_takes(
    serve: Serve,
) -> None:
    server = serve(APP, "--body-min-rate", "100", "--header-timeout", "0.2")
    with ThreadPoolExecutor() as clients:  # at the same time: each takes more than five seconds
        too_slow = clients.submit(drip, server, head("/length", length=10_000), b"x", 0.15)
        at_pace = clients.submit(send_at_least_pace, server)
    raw, took_s = too_slow.result()
    print(f"408 after {took_s:.1f} s")
    response = only(raw)
    assert (response.status, response.headers["connection"]) == (408, "close")
    assert 4.5 <= took_s < 15
    server.wait_log("came too slowly")
    raw, took_s = at_pace.result()
    response = only(raw)
    assert (response.status, response.body) == (200, b"6000")
    assert took_s > 5
    assert server.request("/length", "POST", b"hello")[2] == b"5"
