"""Clients that leave: in the middle of something, with a reset, by the thousand."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from support.apps import APPS
from support.leaving import reset
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "engine_disconnects.py"

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


def ask(path: str) -> bytes:
    return GET.format(path).encode()


Leave = Callable[[socket.socket], None]


def reported(server: Server, path: str, count: int) -> list[Any]:
    """What `path` responds with, once there are `count` entries."""

    def things() -> list[Any] | None:
        found: list[Any] = json.loads(server.get(path))
        return found if len(found) >= count else None

    return wait_until(things) or []


LEAVE = pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])


@LEAVE
@pytest.mark.parametrize("beginning", [b"", b"x" * 50_000], ids=["nothing", "half"])
def test_leaving_in_the_middle_of_a_body_is_heard_and_no_handler_runs(
    serve: Serve, leave: Leave, beginning: bytes
) -> None:
    server = serve(APP)
    sock = server.connect()
    sock.sendall(POST + beginning)
    server.get("/notes")  # it has read what was sent
    leave(sock)
    assert reported(server, "/troubles", 1) == [
        ["the client left in the middle of a request body", "127.0.0.1"]
    ]
    assert json.loads(server.get("/notes")) == []


@LEAVE
def test_leaving_in_the_middle_of_a_head_is_heard(serve: Serve, leave: Leave) -> None:
    server = serve(APP)
    sock = server.connect()
    sock.sendall(b"GET / HTTP/1.1\r\nHo")
    server.get("/notes")
    leave(sock)
    assert reported(server, "/troubles", 1) == [
        ["the client left in the middle of a request head", "127.0.0.1"]
    ]


def test_a_handler_sees_that_its_client_is_gone(serve: Serve) -> None:
    server = serve(APP)
    sock = server.connect()
    sock.sendall(ask("/wait"))
    reported(server, "/notes", 1)
    reset(sock)
    assert reported(server, "/notes", 2) == ["alive False", "dead"]
    ((text, client),) = reported(server, "/troubles", 1)
    assert client == "127.0.0.1"
    assert "the client" in text
    assert "Traceback" not in server.log


@LEAVE
def test_a_stream_ends_when_its_client_leaves(serve: Serve, leave: Leave) -> None:
    server = serve(APP)
    sock = server.connect()
    sock.sendall(ask("/stream"))
    assert sock.recv(1)
    leave(sock)
    assert reported(server, "/notes", 1) == ["closed"]
    assert len(reported(server, "/troubles", 1)) == 1
    assert "Traceback" not in server.log


@LEAVE
def test_leaving_in_the_middle_of_a_response_is_heard(serve: Serve, leave: Leave) -> None:
    server = serve(APP)
    sock = server.connect()
    sock.sendall(ask("/huge"))
    assert sock.recv(1)
    leave(sock)
    assert len(reported(server, "/troubles", 1)) == 1
    assert wait_until(lambda: psutil.Process(server.pid).num_fds() < 20)


@LEAVE
def test_leaving_between_requests_is_no_trouble(serve: Serve, leave: Leave) -> None:
    server = serve(APP)
    for request in (b"", ask("/one")):
        sock = server.connect()
        sock.sendall(request)
        if request:
            assert sock.recv(65536)
        leave(sock)
    wait_until(lambda: psutil.Process(server.pid).num_fds() < 20)
    assert json.loads(server.get("/troubles")) == []


def visit(server: Server, number: int) -> None:
    """One of the ways in which clients come and go."""
    with contextlib.suppress(OSError):
        sock = server.connect()
        match number % 8:
            case 0:
                pass
            case 1:
                sock.sendall(b"GET / HT")
            case 2:
                sock.sendall(ask("/x"))
            case 3:
                sock.sendall(ask("/x"))
                sock.recv(65536)
            case 4:
                sock.sendall(POST + b"x" * 1000)
            case 5:
                sock.sendall(ask("/wait"))
            case 6:
                sock.sendall(ask("/stream"))
            case 7:
                sock.sendall(b"BAD\r\n\r\n")
        if number % 3 and number % 8 != 5:  # the handler of these would wait for ever
            sock.close()
        else:
            reset(sock)


def test_2000_connections_that_come_and_go_leave_nothing_behind(serve: Serve) -> None:
    server = serve(APP, "--log-level", "error", parameters={"forget": True})
    process = psutil.Process(server.pid)

    def rest() -> int:
        """Memory, once no connection is left."""
        wait_until(lambda: process.num_fds() <= idle, "the descriptors of the beginning")
        return int(process.memory_info().rss)

    server.get("/x")
    idle = wait_until(lambda: process.num_fds())
    for number in range(500):
        visit(server, number)
    before = rest()
    for number in range(2000):
        visit(server, number)
    grown = rest() - before
    print(f"{grown} bytes more after 2,000 connections, {process.num_fds()} descriptors")
    assert grown < 2_000_000
    assert server.get("/x") == b""
