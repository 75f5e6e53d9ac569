"""STARTLISTEN, STOPLISTEN, SHUTDOWN and SHUTDOWN GRACEFUL of a server without a pool."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import read_all, read_response
from support.server import Serve, Server
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "server_listening.py"
HOWS = pytest.mark.parametrize("how", ["event", "method"])
PAGE = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
HUP, USR1, USR2, TERM, WINCH = 1, 10, 12, 15, 28


def refuses(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def said(server: Server, line: str) -> None:
    wait_until(lambda: line in server.out, f"{line!r} on standard output")


def ended_after_its_connections(server: Server) -> None:
    """A close handler still finds the server, as in POE. Then its alias is gone, and the run ends."""
    said(server, "closed HTTPD")
    said(server, "alias None")
    assert server.process.wait(DEADLINE_S) == 0


@HOWS
def test_stop_listen_closes_the_listener_alone(serve: Serve, how: str) -> None:
    server = serve(APP)
    with server.connect() as kept:
        kept.sendall(PAGE)
        assert read_response(kept)[2] == b"page"
        server.get(f"/{how}/stop")
        wait_until(lambda: refuses(server))
        kept.sendall(PAGE)
        assert read_response(kept)[2] == b"page"


@HOWS
def test_start_listen_opens_it_again_on_the_same_port(serve: Serve, how: str) -> None:
    server = serve(APP)
    for _ in range(2):
        server.get(f"/{how}/stop")
        wait_until(lambda: refuses(server))
        server.signal(USR1)
        wait_until(lambda: not refuses(server))
        assert server.get("/page") == b"page"
    wait_until(lambda: server.out.count(f"setup {server.port}") == 3)  # the line is read by a thread
    assert server.stop() == 0


@contextlib.contextmanager
def port_taken(server: Server) -> Iterator[None]:
    """The server has stopped listening, and another program has its port when it starts again."""
    server.get("/method/stop")
    wait_until(lambda: refuses(server))
    with socket.create_server((server.host, server.port)):
        server.signal(USR1)
        server.wait_log("Address already in use; stop what uses it or choose another")
        yield


def test_start_listen_tries_again_when_the_port_was_taken_meanwhile(serve: Serve) -> None:
    server = serve(APP)
    with port_taken(server):
        pass
    wait_until(lambda: server.out.count(f"setup {server.port}") == 2, "the second try")
    assert server.get("/page") == b"page"


HASTY = {"hasty": True}


def tries_later(server: Server) -> int:
    """How often it has tried to listen, ten times the pause between two tries from now."""
    server.out.clear()
    server.signal(HUP)
    said(server, "later")
    return sum("cannot listen" in line for line in server.err)


def test_start_listen_gives_up_after_max_retries(serve: Serve) -> None:
    server = serve(APP, "--max-retries", "2", parameters=HASTY)
    with port_taken(server):
        assert tries_later(server) == 3
        server.signal(USR1)
        assert tries_later(server) == 6


def test_stop_listen_takes_a_start_back_that_waits_for_the_port(serve: Serve) -> None:
    server = serve(APP, "--max-retries", "1000", parameters=HASTY)
    with port_taken(server):
        server.signal(WINCH)
        tries = tries_later(server)
        assert tries_later(server) == tries
    assert refuses(server)


def test_a_server_that_waits_to_listen_again_can_be_shut_down(serve: Serve) -> None:
    server = serve(APP)
    with port_taken(server):
        assert server.stop() == 0
    assert server.out.count(f"setup {server.port}") == 1


@HOWS
def test_shutdown_cuts_every_connection_and_removes_the_alias(serve: Serve, how: str) -> None:
    server = serve(APP)
    with server.connect() as waiting, server.connect() as idle:
        idle.sendall(PAGE)
        assert read_response(idle)[2] == b"page"
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        said(server, "waiting")
        assert server.raw(f"GET /{how}/shutdown HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == b""
        assert read_all(waiting) == b""
        assert read_all(idle) == b""
    ended_after_its_connections(server)
    said(server, "error the server was shut down 127.0.0.1")
    wait_until(lambda: refuses(server))
    assert "Traceback" not in server.log


@HOWS
def test_shutdown_graceful_serves_what_was_sent(serve: Serve, how: str) -> None:
    server = serve(APP)
    with server.connect() as waiting, server.connect() as idle:
        idle.sendall(PAGE)
        assert read_response(idle)[2] == b"page"
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        said(server, "waiting")
        assert server.get(f"/{how}/shutdown?GRACEFUL") == b"the last one"
        assert read_all(idle) == b""
        wait_until(lambda: refuses(server))
        server.signal(USR2)
        status, fields, body = read_response(waiting)
        assert (status, fields["connection"], body) == (200, "close", b"late")
    ended_after_its_connections(server)


def test_shutdown_graceful_cuts_what_does_not_end_in_time(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "0.2")
    with server.connect() as waiting:
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        said(server, "waiting")
        server.signal(TERM)
        assert read_all(waiting) == b""
    server.wait_log("closing 1 connections that did not end")


def test_term_is_graceful_and_a_second_one_ends_at_once(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "60")
    with server.connect() as waiting:
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        said(server, "waiting")
        server.signal(TERM)
        server.wait_log("SIGTERM: stopping when all requests are finished")
        begun = time.monotonic()
        server.signal(TERM)
        assert read_all(waiting) == b""
        assert time.monotonic() - begun < 5
    server.wait_log("SIGTERM again: stopping at once")


def test_a_unix_socket_is_opened_again_as_well(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    server = serve(APP, "--bind", f"unix:{path}")
    server.raw(b"GET /method/stop HTTP/1.0\r\n\r\n")
    wait_until(lambda: not path.exists())
    server.signal(USR1)
    wait_until(path.exists)
    assert server.raw(b"GET /page HTTP/1.0\r\n\r\n").endswith(b"page")
