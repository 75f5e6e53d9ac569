"""What a WSGI application may do wrong: client and log get an error, and the worker goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import read_response, read_until_reset
from support.server import Serve, Server, running
from support.waiting import wait_until

APP = APPS / "wsgi_faults.py"


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "threads"])
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all of these tests: whatever a test does, it serves the next one."""
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--threads", str(request.param))
    with running(str(APP), *options) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def server(shared: Server) -> Server:
    shared.forget_output()
    return shared


def faults(server: Server) -> list[str]:
    """The lines of the log about errors and clients; a traceback belongs to its line."""
    lines = [line for line in list(server.err) if re.match(r"\d{4}-", line)]
    return [line for line in lines if "ERROR" in line or "client" in line]


def get(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("path", "reason", "has_traceback"),
    [
        ("before", "", True),
        ("during", "start_response needs status and headers", True),
        ("after", "", True),
        ("exits", "", True),
        ("first", "", True),
        ("quits", "GeneratorExit('no more')", True),
        ("twice", "", True),
        ("text", "a part of its body is str: expected bytes", False),
        ("text_written", "a part of its body is str: expected bytes", False),
        ("number", "it returned 5: expected an iterable of bytes", False),
        ("nothing", "it returned None: expected an iterable of bytes", False),
        ("bare", "it returned b'bare': expected an iterable of bytes", False),
        ("silent", "it responded without calling start_response", False),
        ("silent_empty", "it responded without calling start_response", False),
        ("split", "X-A", False),
        ("name", "X A", False),
        ("bytes_header", "expected a list of (str, str)", False),
        ("dict_headers", "expected a list of (str, str)", False),
        ("hop", "header Connection: it is about the connection", False),
        ("coding", "header Transfer-Encoding: it is about the connection", False),
        ("status", "its status is 'OK': expected a str such as '200 OK'", False),
        ("status_number", "its status is 200: expected a str", False),
        ("status_bytes", "its status is b'200 OK': expected a str", False),
        ("interim", "its status is '100 Continue'", False),
    ],
)
def test_what_cannot_be_sent_is_a_500_and_one_line(
    server: Server, path: str, reason: str, has_traceback: bool
) -> None:
    pid = server.get("/fine")
    with server.connect() as sock:
        sock.sendall(get(path))
        status, fields, body = read_response(sock)
        assert (status, body) == (500, b"500 Internal Server Error")
        assert fields.keys() <= {"date", "content-type", "content-length"}
        sock.sendall(get("fine"))
        assert read_response(sock)[2] == pid  # the same connection, the same worker
    line = server.wait_log(f"application app failed on GET /{path}")
    assert reason in line
    assert faults(server) == [line]
    assert ("Traceback" in server.log) == has_traceback


@pytest.mark.parametrize("path", ["later", "text_later", "quits_later", "late"])
def test_what_fails_in_the_middle_ends_the_connection(server: Server, path: str) -> None:
    raw = server.raw(get(path))
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"4\r\nsome\r\n"), "the end of the body must not look like one"
    line = server.wait_log(f"application app failed on GET /{path}")
    assert server.get("/fine")
    assert faults(server) == [line]


@pytest.mark.parametrize("path", ["later", "text_later", "quits_later", "late"])
def test_what_fails_in_the_middle_of_a_body_without_a_length_resets_the_connection(
    server: Server, path: str
) -> None:
    """Its end would pass for that of the body (RFC 9112, section 8): nginx would store it."""
    with server.connect() as sock:
        sock.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        assert read_until_reset(sock).endswith(b"\r\n\r\nsome")
    server.wait_log(f"application app failed on GET /{path}")


@pytest.mark.parametrize("path", ["long", "long_pieces"])
def test_a_body_that_is_too_long_is_cut(server: Server, path: str) -> None:
    with server.connect() as sock:
        sock.sendall(get(path))
        assert read_response(sock)[2] == b"123"
        sock.sendall(get("fine"))
        assert read_response(sock)[0] == 200
    assert f"GET /{path}: the body is 2 bytes longer than its Content-Length" in server.wait_log("longer")
    assert len(faults(server)) == 1


@pytest.mark.parametrize("path", ["short", "short_pieces"])
def test_a_body_that_is_too_short_ends_the_connection(server: Server, path: str) -> None:
    assert server.raw(get(path) + get("fine")).endswith(b"\r\n\r\n12345")
    assert f"GET /{path}: the body is 4 bytes shorter than its Content-Length" in server.wait_log("shorter")
    assert len(faults(server)) == 1


def test_a_close_that_fails_is_logged_and_the_response_stands(server: Server) -> None:
    assert server.get("/closing") == b"fine"
    line = server.wait_log("application app failed on GET /closing")
    assert "ValueError: no close" in server.log
    assert server.get("/fine")
    assert faults(server) == [line]


@pytest.mark.parametrize("path", ["first", "later", "quits", "text_later", "short_pieces", "closing"])
def test_what_fails_is_closed_once_too(server: Server, path: str) -> None:
    before = json.loads(server.get("/closed"))
    server.raw(get(path) + get("fine").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    # A thread may still be about to close it when the client has all there is.
    wait_until(lambda: json.loads(server.get("/closed")) == [*before, "Body"], "close() once")


def test_nothing_is_left_open_by_what_fails(server: Server) -> None:
    (worker,) = server.workers()
    for path in ("before", "later", "short", "text"):
        server.raw(get(path).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    server.get("/fine")
    before = len(os.listdir(f"/proc/{worker}/fd"))
    for path in ("before", "later", "short", "text") * 5:
        server.raw(get(path).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    wait_until(lambda: len(os.listdir(f"/proc/{worker}/fd")) <= before, "no descriptor is lost")


def test_a_thread_that_cannot_be_started_is_a_500_and_one_line_and_the_next_request_has_one(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "none").touch()
    server = serve(
        APPS / "no_threads.py", "--workers", "1", "--threads", "2", parameters={"directory": str(tmp_path)}
    )
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(get("first"))
            status, _, body = read_response(sock)
            assert (status, body) == (500, b"500 Internal Server Error")
        (tmp_path / "none").unlink()
        sock.sendall(get("last"))
        assert read_response(sock)[2] == b"fine"
    line = server.wait_log('application app failed on GET /first: RuntimeError("can\'t start new thread")')
    assert len(faults(server)) == 3
    assert line in faults(server)
    assert server.stop() == 0
