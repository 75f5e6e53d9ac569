"""Connections that a WSGI application takes over as sockets: for WebSockets, above all."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from support import tls
from support.apps import APPS
from support.leaving import reset
from support.pool import is_silent
from support.responses import read_all
from support.server import Serve, Server
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "wsgi_sockets.py"
FLASK = APPS / "flask_sockets.py"


@pytest.fixture(params=[(), tls.OPTIONS], ids=["plain", "tls"])
def over(serve: Serve, request: pytest.FixtureRequest) -> Serve:
    """As `serve`, over each way to the server: the socket of an application has plain bytes in any case."""

    def begin(*arguments: Any, **settings: Any) -> Server:
        return serve(*arguments, *request.param, **settings)

    return begin


@pytest.fixture
def server(over: Serve) -> Server:
    return over(APP, "--workers", "1", "--threads", "2", "--access-log", "-")


def in_flight(server: Server) -> int:
    found: int = server.status()["workers"][0]["in_flight"]
    return found


def take(server: Server, path: str, more: bytes = b"") -> socket.socket:
    sock = server.connect()
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + more)
    return sock


def read(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        data = sock.recv(count - len(received))
        assert data, received
        received += data
    return received


def ask(server: Server, path: str) -> bytes:
    return server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


# --- WebSockets ---------------------------------------------------------------------------------------------


def open_websocket(server: Server, path: str) -> ClientConnection:
    place = f"ws://{server.host}:{server.port}{path}"
    return connect(place, sock=server.connect(), open_timeout=DEADLINE_S)


def test_flask_sock_talks_while_others_are_served(over: Serve) -> None:
    server = over(FLASK, "--workers", "1", "--threads", "3")
    with open_websocket(server, "/echo") as one, open_websocket(server, "/echo") as other:
        for text in ("a", "b" * 300_000):
            for websocket in (one, other):
                websocket.send(text)
                assert websocket.recv(DEADLINE_S) == f"echo {text}"
        assert server.get("/") == b"index"
        wait_until(lambda: in_flight(server) == 2, "the two alone")
    wait_until(lambda: in_flight(server) == 0, "both ends")
    assert "failed" not in server.log


def test_a_websocket_that_the_application_closes_is_closed_well(over: Serve) -> None:
    server = over(FLASK, "--workers", "1", "--threads", "2")
    for _ in range(3):
        with open_websocket(server, "/once") as websocket:
            websocket.send("x")
            assert websocket.recv(DEADLINE_S) == "got x"
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(DEADLINE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1000
    wait_until(lambda: in_flight(server) == 0, "the end")


def test_socketio_talks_in_its_threading_mode(over: Serve) -> None:
    server = over(FLASK, "--workers", "1", "--threads", "4")
    with open_websocket(server, "/socket.io/?EIO=4&transport=websocket") as websocket:
        assert str(websocket.recv(DEADLINE_S)).startswith("0{")
        websocket.send("40")
        assert str(websocket.recv(DEADLINE_S)).startswith("40{")
        websocket.send('42["hello","you"]')
        assert websocket.recv(DEADLINE_S) == '42["reply","hi you"]'
    wait_until(lambda: in_flight(server) == 0, "the end")
    assert server.stop() == 0
    assert "Traceback" not in server.log


# --- any socket ---------------------------------------------------------------------------------------------


def test_a_taken_connection_is_in_flight_until_its_call_ends(server: Server) -> None:
    with take(server, "/echo") as sock:
        assert read(sock, 5) == b"here\n"
        assert in_flight(server) == 1
        sock.sendall(b"hello")
        assert read(sock, 5) == b"hello"
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
    wait_until(lambda: in_flight(server) == 0, "the end")
    wait_until(lambda: any('"GET /echo HTTP/1.1" 101' in line for line in server.out), "its line")
    assert "this is not sent" not in server.log


@pytest.mark.parametrize("path", ["/echo", "/lines"])
def test_what_came_after_the_request_is_read_first(server: Server, path: str) -> None:
    with take(server, path, b"one\ntwo\n") as sock:
        skip = read(sock, 5) if path == "/echo" else b""
        assert read(sock, 8) == b"one\ntwo\n"
        sock.sendall(b"three\n")
        assert read(sock, 6) == b"three\n"
        assert skip in (b"", b"here\n")


def test_every_method_reads_what_came_with_the_request_and_what_came_later(server: Server) -> None:
    with take(server, "/reads", b"0123456789") as sock:
        refusal, _, read_early = read(sock, len(REFUSAL) + 10).partition(b"\n")
        assert refusal + b"\n" == REFUSAL
        assert read_early == b"0123456789"
        sock.sendall(b"abcdefghij")
        assert read_all(sock) == b"abcdefghij"


REFUSAL = (
    b"the server has received 10 bytes of this connection, which its descriptor does not have: read them "
    b"first, with recv()\n"
)


def test_its_descriptor_can_be_taken_if_nothing_came_with_the_request(server: Server) -> None:
    with take(server, "/detaches") as sock:
        wait_until(lambda: in_flight(server) == 1, "the takeover")
        sock.sendall(b"later")
        assert read_all(sock) == b"later"


def test_it_can_be_peeked_at(server: Server) -> None:
    with take(server, "/peeks", b"abcd") as sock:
        assert read_all(sock) == b"ababcd"


def test_earlier_responses_are_sent_first(server: Server) -> None:
    before = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" * 3
    with server.connect() as sock:
        sock.sendall(before + b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\nmore")
        sock.shutdown(socket.SHUT_WR)
        received = read_all(sock)
    assert received.count(b"\r\n\r\nplain") == 3
    assert received.endswith(b"plainhere\nmore")


def test_a_socket_that_the_application_closes_ends_the_connection(over: Serve, tmp_path: Path) -> None:
    go = tmp_path / "go"
    server = over(APP, "--workers", "1", "--threads", "2", parameters={"go": str(go)})
    with take(server, "/closes") as sock:
        assert read_all(sock) == b"bye"
        wait_until(lambda: in_flight(server) == 0, "the end")
    go.touch()


@pytest.mark.parametrize(
    ("path", "is_logged"),
    [
        ("/stops", False),
        ("/forgets", False),
        ("/returns", False),
        ("/returns?a", False),
        ("/duplicates", False),
        ("/fails", True),
    ],
)
def test_the_end_of_the_call_ends_the_connection(server: Server, path: str, is_logged: bool) -> None:
    with take(server, path) as sock:
        assert read_all(sock) == path[1:].partition("?")[0].encode()
    wait_until(lambda: in_flight(server) == 0, "the end")
    if is_logged:
        server.wait_log(f"failed on GET {path}: ValueError('on purpose')")
    else:
        assert ask(server, "/plain").endswith(b"plain")
        assert "failed" not in server.log


def test_who_looks_at_the_environ_takes_nothing(server: Server) -> None:
    assert ask(server, "/plain").endswith(b"\r\n\r\nplain")
    assert ask(server, "/keys").endswith(b"['gunicorn.socket', 'werkzeug.socket']")
    assert server.log == ""


def test_without_threads_there_is_no_socket(over: Serve) -> None:
    assert ask(over(APP, "--workers", "1"), "/keys").endswith(b"\r\n\r\n[]")


def test_a_response_that_has_begun_cannot_be_taken_over(server: Server) -> None:
    assert ask(server, "/late").endswith(b"5\r\nbegun\r\n")
    server.wait_log("the response was already sent")
    assert "ignored" not in server.log


def test_a_client_that_leaves_is_the_applications_to_notice(server: Server) -> None:
    sock = take(server, "/echo")
    assert read(sock, 5) == b"here\n"
    reset(sock)
    wait_until(lambda: in_flight(server) == 0, "the end")
    assert "failed" not in server.log


def test_taken_connections_occupy_threads(server: Server) -> None:
    with server.connect() as waits:
        taken = [take(server, "/echo") for _ in range(2)]
        for sock in taken:
            read(sock, 5)
        waits.sendall(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_silent(waits)
        taken[0].close()
        assert waits.recv(1000).endswith(b"plain")
    taken[1].close()


def test_a_taken_connection_is_cut_at_the_end_of_the_grace(over: Serve) -> None:
    server = over(APP, "--workers", "2", "--threads", "2", "--graceful-timeout", "0.5")
    with take(server, "/echo") as sock, open_after(server, sock):
        assert server.stop() == 0
        with contextlib.suppress(ssl.SSLEOFError):  # the process may end before its last record is sent
            assert read_all(sock) == b""
    server.wait_log("closing 1 connections that did not end")


def open_after(server: Server, sock: socket.socket) -> socket.socket:
    """Another connection, when `sock` is taken."""
    assert read(sock, 5) == b"here\n"
    return server.connect()
