"""A forked child of the application has the clients' sockets open. A connection ends all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import only, read_all, read_response
from support.server import Serve, Server

APP = APPS / "wsgi_forked_child.py"

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

ENDS = {
    "with its response": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "with a response of HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "after an error": b"no request\r\n\r\n",
    "in the middle of a head": b"GET / HT",
    "with nothing left to read": b"",
}


@contextlib.contextmanager
def child(server: Server) -> Iterator[None]:
    pid = int(server.get("/fork"))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def kept(serve: Serve) -> Iterator[tuple[Server, socket.socket]]:
    """A server with a connection that has had one response."""
    server = serve(APP, "--workers", "1", "--keep-alive-timeout", "2", "--header-timeout", "2")
    with server.connect() as sock:
        sock.sendall(GET)
        assert read_response(sock)[2] == b"hello"
        yield server, sock


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_ends(kept: tuple[Server, socket.socket], end: str) -> None:
    server, sock = kept
    with child(server):
        sock.sendall(ENDS[end])
        if end == "with nothing left to read":
            sock.shutdown(socket.SHUT_WR)
        response = read_all(sock)  # until the end of the connection
        assert not response or only(response).headers["connection"] == "close"


def test_an_idle_connection_ends(kept: tuple[Server, socket.socket]) -> None:
    server, sock = kept
    with child(server):
        assert read_all(sock) == b""


def test_a_server_that_stops_ends_its_connections(kept: tuple[Server, socket.socket]) -> None:
    server, sock = kept
    with child(server):
        server.signal(signal.SIGTERM)
        assert read_all(sock) == b""
    # A worker gives its children the rest of graceful_timeout to end.
    assert server.wait() == 0


def test_a_program_inherits_no_descriptor(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    server = serve(APP, "--workers", "1", "--access-log", str(log), "--spool-above", "10")
    with server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        body = b"x" * 20
        head = (
            f"POST /inherited HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        names = literal_eval(only(server.raw(head.encode() + body)).body.decode())
    # Standard streams, the pipe, and the directory that is read.
    assert names[:3] == ["0", "1", "2"]
    assert len(names) == 5
