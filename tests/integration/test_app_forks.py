"""The application forks: its child is no worker, hears its own signals, and holds nothing of its parent's."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from support.apps import APPS
from support.processes import alive, children
from support.responses import read_all
from support.server import Serve, Server
from support.waiting import wait_until

KINDS = {
    "wsgi": (":wsgi",),
    "threads": (":wsgi", "--threads", "3"),
    "asgi": (":asgi",),
    "uvloop": (":asgi", "--loop", "uvloop"),
    "events": (":server",),
    "alone": (":wsgi", "--start", "0"),
}
OF_ASGI = ("asgi", "uvloop")

OF_THE_C_LIBRARY = 1 << 31 | 1 << 32
"""Signals 32 and 33. What started the tests may ignore them, and no program can change that through glibc."""


def start(serve: Serve, kind: str, *flags: str) -> Server:
    name, *more = KINDS[kind]
    pool = () if "--start" in more else ("--workers", "1")
    return serve(Path(f"{APPS / 'forks.py'}{name}"), *pool, *more, *flags)


@pytest.fixture(params=KINDS)
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    return start(serve, request.param)


def test_a_child_that_returns_or_raises_ends_with_that_status_and_serves_no_request(server: Server) -> None:
    before = server.get("/")
    assert server.get("/returns") == b"0"
    assert server.get("/raises") == b"1"
    assert server.get("/exits") == b"7"
    assert server.get("/pty") == b"1"
    assert {server.get("/") for _ in range(8)} == {before}
    assert not children(int(before))
    assert server.stop() == 0
    assert server.log.count("ValueError: in the child") == 1, server.log
    assert "ERROR" not in server.log


def test_a_signal_to_a_child_is_the_childs_and_not_its_parents(server: Server) -> None:
    before = server.get("/")
    expected = [-signal.SIGTERM, -signal.SIGHUP, -signal.SIGQUIT]
    assert server.get("/signals") == f"{[int(signum) for signum in expected]}".encode()
    assert server.get("/terminated") == b"-15"
    for _ in range(5):
        assert server.get("/pool") == b"[1, 2]"
    assert server.get("/") == before
    assert server.stop() == 0
    assert "ERROR" not in server.log


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_has_none_of_its_parents_sockets_and_epoll_sets(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    with server.connect() as kept:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(4096)
        found = json.loads(server.get("/descriptors"))
    assert "AF_INET" not in found
    if kind != "uvloop":  # its own descriptors are out of reach
        assert found == []


def test_a_program_that_is_started_ignores_no_signal(server: Server) -> None:
    ignored, status = map(int, server.get("/started").split())
    assert ignored & ~OF_THE_C_LIBRARY == 0
    assert status == -signal.SIGINT


def test_a_child_keeps_neither_a_connection_nor_the_port(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /left HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        child = int(read_all(sock).split()[-1])
    assert alive(child)
    os.kill(server.pid, signal.SIGKILL)
    try:
        server.process.wait()  # not for the end of its output, which the child has
        wait_until(lambda: not listens(server.port), "the port to be free")
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


@pytest.mark.parametrize("kind", ["wsgi", "threads"])
def test_a_child_of_a_body_ends_where_the_body_returns(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    before = server.get("/")
    assert server.get("/body") == b"status 1"
    assert server.get("/") == before
    assert not children(int(before))


@pytest.mark.parametrize("kind", OF_ASGI)
def test_a_child_of_a_task_ends_when_the_task_does_or_waits(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    before = server.get("/")
    assert server.get("/lifespan") == b"1", "it awaits the shutdown"
    assert server.get("/later") == b"1"
    assert server.get("/awaits") == b"1"
    assert server.get("/own") == b"5"
    assert server.get("/thread") == b"1"
    assert {server.get("/") for _ in range(8)} == {before}
    assert not children(int(before))
    assert "prefork: a child that a task forks cannot await: the loop is its parent's\n" in server.log


@pytest.mark.parametrize("path", ["/post", "/task"])
def test_a_child_of_an_event_ends_with_the_event(serve: Serve, path: str) -> None:
    server = start(serve, "events")
    before = server.get("/")
    assert server.get(f"{path}/returns") == b"0"
    assert server.get(f"{path}/raises") == b"1"
    assert {server.get("/") for _ in range(8)} == {before}
    assert not children(int(before))


def test_a_child_that_a_module_forks_while_it_is_loaded_does_not_serve(serve: Serve) -> None:
    server = serve(
        """
        import os

        pid = os.fork()
        status = pid and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "1")])
            return [b"%d" % status]
        """
    )
    assert server.get("/") == b"0"
    assert "forked while it was loaded ends here" in server.log


def test_a_child_that_is_forked_while_the_application_is_loaded_hears_its_own_signals(serve: Serve) -> None:
    place = Path(f"{APPS / 'forks.py'}:wsgi")
    server = serve(place, "--workers", "1", parameters={"at_import": True})
    assert f"{[-signal.SIGTERM, -signal.SIGQUIT, -signal.SIGHUP]}" in server.out
