"""Streams: a piece is requested when the one before has left, and a client that leaves ends its producer."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from support.apps import APPS
from support.responses import read_response
from support.server import Serve, Server
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "server_streams.py"
PRODUCERS = pytest.mark.parametrize("path", ["/event", "/generator", "/async_generator"])


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP)


def made(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get("/made"))
    return found


def slow_client(server: Server, path: str) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(DEADLINE_S)
    sock.connect((server.host, server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return sock


def settled(server: Server) -> int:
    """How many pieces were made once no more are."""
    pieces = -1
    while pieces != (pieces := made(server)["pieces"]):
        # Two requests apart: a producer that is not stopped makes some in between.
        server.get("/made")
    return pieces


@PRODUCERS
def test_a_client_that_does_not_read_stops_the_producer_and_one_that_does_starts_it(
    server: Server, path: str
) -> None:
    with slow_client(server, path) as sock:
        wait_until(lambda: made(server)["pieces"])
        stopped = settled(server)
        assert stopped < 200  # what the sockets hold, and not more
        left = 0
        while left < 4_000_000:
            left += len(sock.recv(65536))
        wait_until(lambda: made(server)["pieces"] > stopped)


@PRODUCERS
def test_a_client_that_leaves_ends_the_producer(server: Server, path: str) -> None:
    with slow_client(server, path) as sock:
        assert sock.recv(100)
    wait_until(lambda: len(made(server)["ended"]) >= 2)
    reported = made(server)["ended"]
    assert "closed" in reported
    assert any("client" in text for text in reported)
    stopped = settled(server)
    assert settled(server) == stopped
    assert "Traceback" not in server.log


def test_a_client_that_leaves_ends_a_generator_that_waits_for_something_else(server: Server) -> None:
    with slow_client(server, "/idle") as sock:
        assert sock.recv(100)
    wait_until(lambda: "closed" in made(server)["ended"])
    assert "Traceback" not in server.log


def test_writing_to_a_client_that_left_ends_the_handler_without_a_log_line(server: Server) -> None:
    with slow_client(server, "/writes_on") as sock:
        assert sock.recv(100)
    wait_until(lambda: "closed" in made(server)["ended"])
    server.stop()
    assert "writes_on" not in server.log


def test_an_error_in_the_middle_ends_the_connection_without_a_last_chunk(server: Server) -> None:
    received = server.raw(b"GET /raises HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n5\r\nfirst\r\n")
    server.wait_log("ValueError: in the middle")


def test_an_error_before_the_first_piece_is_a_clean_500(server: Server) -> None:
    status, fields, body = server.request("/raises_before")
    assert (status, body) == (500, b"500 Internal Server Error")
    assert "x-half" not in fields
    server.wait_log("ValueError: before the first piece")


def test_a_stream_of_a_declared_length_needs_no_chunks(server: Server) -> None:
    _, fields, body = server.request("/declared/10")
    assert (fields["content-length"], body) == ("10", b"1234567890")
    assert "transfer-encoding" not in fields


def test_more_than_was_declared_is_cut_and_said(server: Server) -> None:
    assert server.get("/declared/7") == b"1234567"
    assert "longer than its Content-Length" in made(server)["ended"][0]


def test_less_than_was_declared_closes_the_connection_and_is_said(server: Server) -> None:
    received = server.raw(b"GET /declared/11 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n\r\n1234567890")
    assert "1 bytes shorter than its Content-Length" in made(server)["ended"][0]


def test_a_stream_whose_event_is_not_there_ends_and_says_so(server: Server) -> None:
    received = server.raw(b"GET /vanish HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n5\r\npiece\r\n")
    assert made(server)["ended"] == ["stream PRODUCER.gone: there is no such event any more"]


def test_a_stream_that_is_dropped_ends_and_names_its_handler(server: Server) -> None:
    received = server.raw(b"GET /forget HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n5\r\npiece\r\n")
    server.wait_log("handler function.forget dropped its response before it was complete")


@pytest.mark.parametrize("path", ["/generator", "/async_generator", "/loops", "/paced", "/parts", "/event"])
def test_a_response_to_head_is_complete_with_its_head_and_ends_a_stream(server: Server, path: str) -> None:
    with server.connect() as sock:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(65536)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        sock.sendall(b"GET /made HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_response(sock)[0] == 200
    wait_until(lambda: made(server)["ended"], "the end of the stream")
    assert made(server)["ended"] == ["done" if path == "/parts" else "closed"]
    assert made(server)["pieces"] <= 1
    assert server.log == ""


def test_many_streams_share_one_process(server: Server) -> None:
    clients = [slow_client(server, "/event") for _ in range(10)]
    for sock in clients:
        received = 0
        while received < 500_000:
            received += len(sock.recv(65536))
    for sock in clients:
        sock.close()
