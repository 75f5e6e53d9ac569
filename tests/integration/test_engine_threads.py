"""Responses from other threads than the loop's, and two servers on one loop."""

from __future__ import annotations

import http.client
import time

import pytest

from support.apps import APPS
from support.responses import only
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "engine_threads.py"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()


def released(server: Server, path: str) -> bytes:
    """What comes back once the thread may go on, which it does while the loop waits for ever."""
    with server.connect(timeout_s=5) as sock:
        sock.sendall(get(path))
        server.get("/release")
        began = time.monotonic()
        raw = b""
        while piece := sock.recv(65536):
            raw += piece
        print(f"{path}: response {(time.monotonic() - began) * 1000:.1f} ms after the thread could go on")
    return raw


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP)


def test_a_response_from_another_thread_leaves_at_once(server: Server) -> None:
    assert only(released(server, "/respond")).body == b"from a thread"


def test_a_stream_from_another_thread_leaves_at_once(server: Server) -> None:
    assert only(released(server, "/stream")).body == b"01234"


def test_a_response_that_another_thread_drops_is_500(server: Server) -> None:
    assert only(released(server, "/drop")).status == 500
    server.wait_log("dropped its response before it was complete")


def test_another_thread_can_close_the_connection(server: Server) -> None:
    assert released(server, "/close") == b""


def test_done_in_an_executor_responds(server: Server) -> None:
    for _ in range(20):
        assert server.get("/executor") == b"from an executor"


def test_many_threads_respond_to_many_clients(server: Server) -> None:
    connections = [http.client.HTTPConnection(server.host, server.port, timeout=10) for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/respond")
    server.get("/release")
    for connection in connections:
        assert connection.getresponse().read() == b"from a thread"
        connection.close()


TWO = APPS / "two_servers.py"


def test_two_servers_live_in_one_kernel_each_with_its_own_handlers_and_limits(serve: Serve) -> None:
    server = serve(TWO, bind=False)

    def port(name: str) -> int:
        return wait_until(
            lambda: next(
                (int(line.split()[1]) for line in list(server.out) if line.startswith(name + " ")), 0
            )
        )

    ports = {name: port(name) for name in ("first", "second")}

    def ask(name: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", ports[name], timeout=10)
        connection.request("POST", path, body)
        response = connection.getresponse()
        result = response.status, response.read()
        connection.close()
        return result

    assert ask("first", "/", b"x" * 11) == (200, b"first")
    assert ask("second", "/", b"x" * 10) == (200, b"second")
    assert ask("second", "/", b"x" * 11)[0] == 413
    assert ask("second", "/stop") == (200, b"stopping")
    wait_until(lambda: refuses(ports["second"]))
    assert ask("first", "/") == (200, b"first"), "the other one lives on"
    assert server.stop() == 0


def refuses(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    connection.close()
    return False
