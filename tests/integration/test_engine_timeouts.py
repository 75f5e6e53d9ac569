"""How long the server waits: for heads, on idle connections, for a client that does not read."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from support.apps import APPS
from support.responses import only, parse, read_all
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "engine_timeouts.py"

HUGE_BYTES = 100_000_000


def get(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def troubles(server: Server) -> list[list[str]]:
    reported: list[list[str]] = json.loads(server.get("/troubles"))
    return reported


@contextlib.contextmanager
def deaf(server: Server, path: str) -> Iterator[socket.socket]:
    """A client that sends a request and has little room for the response."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(10)
        sock.connect((server.host, server.port))
        sock.sendall(get(path, "Connection: close\r\n"))
        yield sock


def test_an_idle_connection_is_closed_in_silence(serve: Serve) -> None:
    server = serve(APP, "--keep-alive-timeout", "0.3")
    with server.connect() as sock:
        sock.sendall(get("/hello"))
        assert only(sock.recv(65536)).body == b"hello"
        began = time.monotonic()
        assert sock.recv(65536) == b""
        took_s = time.monotonic() - began
    print(f"closed after {took_s:.2f} s")
    assert 0.25 <= took_s < 3
    assert troubles(server) == []


def test_requests_keep_a_connection_from_being_idle(serve: Serve) -> None:
    server = serve(APP, "--keep-alive-timeout", "0.4")
    with server.connect() as sock:
        for _ in range(5):
            sock.sendall(get("/hello"))
            assert only(sock.recv(65536)).body == b"hello"
            time.sleep(0.2)  # half of the timeout
        sock.sendall(get("/hello"))
        assert only(sock.recv(65536)).body == b"hello"


def test_a_response_may_take_longer_than_any_timeout_of_a_client(serve: Serve) -> None:
    limits = ["--keep-alive-timeout", "0.2", "--header-timeout", "0.2", "--send-timeout", "0.2"]
    server = serve(APP, *limits)
    assert server.get("/rare") == b"onetwo"


def test_a_connection_that_was_blocked_is_idle_once_all_is_read(serve: Serve) -> None:
    server = serve(APP, "--keep-alive-timeout", "0.4", "--send-timeout", "5")
    with server.connect() as sock:
        sock.sendall(get("/huge"))
        raw = sock.recv(1000, socket.MSG_WAITALL)
        time.sleep(0.6)  # longer than the timeout of an idle connection: this one is not idle
        raw += read_all(sock)
    assert len(only(raw).body) == HUGE_BYTES
    assert troubles(server) == []


def test_a_hundred_slow_heads_are_408_and_delay_no_other_client(serve: Serve) -> None:
    server = serve(APP, "--header-timeout", "0.5", "--keep-alive-timeout", "5")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(300)]
        for sock in slow:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: ")
        began = time.monotonic()
        for _ in range(20):
            assert server.get("/hello") == b"hello"
        print(f"20 others were served in {time.monotonic() - began:.3f} s")
        assert {only(read_all(sock)).status for sock in slow} == {408}
    assert len(troubles(server)) == 300
    wait_until(lambda: psutil.Process(server.pid).num_fds() < 50, "all are closed")


def test_a_client_that_never_reads_100_mb_costs_no_memory_and_is_cut(serve: Serve) -> None:
    server = serve(APP, "--send-timeout", "0.5")
    server.get("/hello")
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(deaf(server, "/huge")) for _ in range(10)]
        for sock in socks:
            assert sock.recv(1) == b"H"
        grown = process.memory_info().rss - before
        print(f"{grown} bytes more for 10 responses of {HUGE_BYTES}")
        assert grown < 4_000_000
        reported = wait_until(lambda: len(reported := troubles(server)) == 10 and reported)
    assert reported == [["the client did not read its response", "127.0.0.1"]] * 10


def test_a_slow_reader_is_not_cut_as_long_as_it_reads(serve: Serve) -> None:
    server = serve(APP, "--send-timeout", "0.3")
    received = 0
    with deaf(server, "/huge") as sock:
        end = time.monotonic() + 1.2
        while time.monotonic() < end:  # four times the timeout
            received += len(sock.recv(400_000))
            time.sleep(0.05)
        assert received < HUGE_BYTES / 2, "it should have read slowly"
        while piece := sock.recv(1 << 20):
            received += len(piece)
    assert HUGE_BYTES < received < HUGE_BYTES + 1000
    assert troubles(server) == []


def test_a_large_response_arrives_whole(serve: Serve) -> None:
    server = serve(APP)
    raw = server.raw(get("/huge") + get("/hello", "Connection: close\r\n"))
    first, second = parse(raw)
    assert first.body == b"0123456789" * 10_000_000
    assert second.body == b"hello"


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_a_stream_is_not_produced_while_the_client_does_not_read(serve: Serve, path: str) -> None:
    server = serve(APP)
    process = psutil.Process(server.pid)
    server.get("/hello")
    before = process.memory_info().rss
    with deaf(server, path) as sock:
        stopped = settled(server)
        print(f"{stopped} of 1600 pieces were made")
        assert stopped < 400
        assert process.memory_info().rss - before < 4_000_000
        raw = read_all(sock)
    (response,) = parse(raw)
    assert response.body == b"".join(bytes([number % 256]) * 65536 for number in range(1600))
    assert json.loads(server.get("/pulled")) == [1600, 1]


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_a_stream_ends_when_its_client_is_cut(serve: Serve, path: str) -> None:
    server = serve(APP, "--send-timeout", "0.3")
    with deaf(server, path):
        wait_until(lambda: json.loads(server.get("/pulled"))[1] == 1)
    assert [text for text, _ in troubles(server)] == ["the client did not read its response"]


def settled(server: Server) -> int:
    """How many pieces were made, once that number stands still."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(json.loads(server.get("/pulled"))[0])
        return len(seen) > 100 and len(set(seen[-100:])) == 1

    wait_until(still, "a producer that waits")
    return seen[-1]


def test_a_stream_without_end_leaves_time_for_others(serve: Serve) -> None:
    server = serve(APP)
    with deaf(server, "/async") as sock:
        sock.setblocking(False)
        for _ in range(30):  # it reads as fast as it can, between the requests of another
            with contextlib.suppress(BlockingIOError):
                sock.recv(1 << 20)
            assert server.get("/hello") == b"hello"
        assert json.loads(server.get("/pulled"))[1] == 0, "it should have been in the middle of its stream"
