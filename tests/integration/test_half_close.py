"""A client that closes its sending side after its request, as `nc -N` does, still reads the response.

To TCP a client that has left looks the same. So the response is written, and only a reset says that the
client is gone.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from support.apps import APPS
from support.leaving import reset
from support.responses import only, parse, read_all
from support.server import Serve, Server
from support.tcp import has_keepalive_timer
from support.waiting import wait_until

WSGI_STREAMS = APPS / "wsgi_streams.py"
PIPELINES = APPS / "engine_pipelines.py"

VERSION = pytest.mark.parametrize("version", ["1.0", "1.1"])
THREADS = pytest.mark.parametrize("threads", [1, 3], ids=["one thread", "threads"])


def get(target: str, version: str = "1.1") -> bytes:
    return f"GET {target} HTTP/{version}\r\nHost: x\r\n\r\n".encode()


def ask(server: Server, target: str, version: str = "1.1") -> socket.socket:
    sock = server.connect()
    sock.sendall(get(target, version))
    return sock


@VERSION
@pytest.mark.parametrize("handler", ["/held", "/gate", "/gate_stream"])
def test_events(serve: Serve, handler: str, version: str) -> None:
    server = serve(PIPELINES)
    with ask(server, handler, version) as sock:
        server.get("/count")
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: has_keepalive_timer(sock) or handler == "/held", "probes of the client")
        server.get("/open")
        assert only(read_all(sock)).body == handler.encode()[1:]


@VERSION
@THREADS
def test_wsgi(serve: Serve, tmp_path: Path, threads: int, version: str) -> None:
    server = serve(WSGI_STREAMS, "--workers", "2", "--threads", str(threads))
    go = tmp_path / "go"
    with ask(server, f"/slow?{go}", version) as sock:
        wait_until(lambda: sum(worker["in_flight"] for worker in server.status()["workers"]), "the request")
        sock.shutdown(socket.SHUT_WR)
        server.get("/state")  # a turn later
        go.touch()
        assert only(read_all(sock)).body == b"firstsecond"


@THREADS
def test_a_large_wsgi_stream_waits_for_a_half_closed_client(serve: Serve, threads: int) -> None:
    server = serve(WSGI_STREAMS, "--workers", "1", "--threads", str(threads))
    with ask(server, "/many?20", "1.0") as sock:
        sock.shutdown(socket.SHUT_WR)
        assert len(only(read_all(sock)).body) == 20 << 20


@VERSION
def test_asgi(asgi: Server, version: str) -> None:
    with ask(asgi, "/events", version) as sock:
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: has_keepalive_timer(sock), "probes of the client")
        asgi.get("/go")
        assert only(read_all(sock)).body == b"data: begin\n\ndata: end\n\n"


def test_an_asgi_application_that_waits_for_the_client_is_told_and_may_still_respond(asgi: Server) -> None:
    with ask(asgi, "/waits") as sock:
        wait_until(lambda: b"waiting" in asgi.get("/records"))
        sock.shutdown(socket.SHUT_WR)
        assert only(read_all(sock)).body == b"too late"
    assert asgi.get("/records") == b"waiting http.disconnect http.disconnect sent"


def test_an_asgi_application_that_begins_to_wait_later_is_told_at_once(asgi: Server) -> None:
    assert only(asgi.raw(get("/waits"), half_close=True)).body == b"too late"
    assert asgi.get("/records") == b"waiting http.disconnect http.disconnect sent"


def test_requests_behind_the_one_in_flight_are_served(serve: Serve) -> None:
    server = serve(PIPELINES)
    with server.connect() as sock:
        sock.sendall(b"".join(get(path) for path in ("/gate", "/echo/2")))
        server.get("/count")
        sock.sendall(get("/echo/3"))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: has_keepalive_timer(sock), "probes of the client")
        server.get("/open")
        assert [response.body for response in parse(read_all(sock))] == [b"gate", b"2", b"3"]


def test_a_reset_behind_it_is_a_leave(serve: Serve) -> None:
    server = serve(PIPELINES)
    with ask(server, "/never") as sock:
        server.get("/count")
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: has_keepalive_timer(sock), "probes of the client")
        reset(sock)
    server.wait_log("the client reset the connection")
