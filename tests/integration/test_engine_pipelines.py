"""Requests sent ahead of their responses: order, fairness, and what a client gets that does not read."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

import psutil
import pytest

from support.apps import APPS
from support.http2 import Http2Client
from support.responses import parse, read_all
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "engine_pipelines.py"


def get(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def send_until_blocked(sock: socket.socket, request: bytes, times: int) -> int:
    """How many requests were sent whole before the server stopped to read; all of them if it never does."""
    data = memoryview(request * times)
    sock.setblocking(False)
    sent = 0
    while sent < len(data) and select.select([], [sock], [], 0.5)[1]:
        sent += sock.send(data[sent : sent + 65536])
    sock.setblocking(True)
    sock.settimeout(10)
    return sent // len(request)


def deaf(server: Server) -> socket.socket:
    """A client that has little room for what it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(10)
    sock.connect((server.host, server.port))
    return sock


@pytest.mark.parametrize("path", ["/echo/{}", "/later/{}"], ids=["sync", "async"])
def test_a_thousand_pipelined_requests_are_served_in_order(serve: Serve, path: str) -> None:
    server = serve(APP)
    requests = [get(path.format(number)) for number in range(999)]
    requests.append(get(path.format(999), "Connection: close\r\n"))
    responses = parse(server.raw(b"".join(requests)))
    assert [response.body for response in responses] == [str(number).encode() for number in range(1000)]
    assert [response.headers.get("connection") for response in responses] == [None] * 999 + ["close"]


def test_more_requests_than_one_read_can_bring_are_served_in_order(serve: Serve) -> None:
    server = serve(APP)
    padding = f"X: {'x' * 5000}\r\n"
    responses = parse(server.raw(b"".join(get(f"/echo/{n}", padding) for n in range(100)), half_close=True))
    assert [response.body for response in responses] == [str(number).encode() for number in range(100)]


def test_requests_cut_anywhere_are_put_together_again(serve: Serve) -> None:
    server = serve(APP)
    data = b"".join(get(f"/echo/{n}") for n in range(20)) + get("/echo/20", "Connection: close\r\n")
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), 7):
            sock.sendall(data[at : at + 7])
        responses = parse(read_all(sock))
    assert [response.body for response in responses] == [str(number).encode() for number in range(21)]


def send_many(sock: socket.socket) -> Callable[[], object]:
    sock.sendall(get("/slow") * 100)
    return lambda: sock.recv(1)


def open_many(sock: socket.socket) -> Callable[[], object]:
    client = Http2Client(sock)
    streams = [client.ask("/slow") for _ in range(100)]
    return lambda: client.response(streams[0])


@pytest.mark.parametrize("ask", [send_many, open_many], ids=["pipelines", "streams"])
def test_many_requests_of_others_do_not_stop_a_client(
    serve: Serve, ask: Callable[[socket.socket], Callable[[], object]]
) -> None:
    """Of a connection whose requests take long each turn serves one."""
    server = serve(APP, "--h2c")
    with contextlib.ExitStack() as stack:
        firsts = [ask(stack.enter_context(server.connect())) for _ in range(3)]
        firsts[0]()
        served = int(server.get("/count"))
    print(f"{served} of 300 slow requests were served before another client was")
    assert served < 32


def test_a_client_that_reads_no_responses_is_served_no_further(serve: Serve) -> None:
    server = serve(APP)
    process = psutil.Process(server.pid)
    server.get("/large")
    before = process.memory_info().rss
    with deaf(server) as sock:
        # The system's buffers take some megabytes in each direction; the server takes no more.
        sent = send_until_blocked(sock, get("/large", f"X: {'x' * 1000}\r\n"), 30_000)
        served = int(server.get("/count"))
        print(f"{sent} requests were taken, {served} served")
        assert sent < 25_000
        assert served < 3000
        assert process.memory_info().rss - before < 4_000_000
        # It reads after all: nothing was lost.
        sock.shutdown(socket.SHUT_WR)
        responses = parse(read_all(sock))
        assert len(responses) in (sent, sent + 1)  # the last request may have been sent in part
    assert int(server.get("/count")) == len(responses) + 1


def test_a_half_closed_client_gets_all_its_responses(serve: Serve) -> None:
    """`printf ... | nc -N host port`"""
    server = serve(APP)
    responses = parse(server.raw(b"".join(get(f"/echo/{n}") for n in range(200)), half_close=True))
    assert len(responses) == 200
    large = parse(server.raw(get("/large") * 2000, half_close=True))
    assert [len(response.body) for response in large] == [10_000] * 2000


def cpu_s(server: Server) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


IDLERS: dict[str, Callable[[socket.socket], object]] = {
    "reads nothing": lambda sock: send_until_blocked(sock, get("/large"), 20_000),
    # So few that the server's system takes them all, and the end behind them.
    "reads nothing and closed its side": lambda sock: (
        sock.sendall(get("/large") * 1500),
        sock.shutdown(socket.SHUT_WR),
    ),
    "reads nothing of its last response": lambda sock: (
        sock.sendall(get("/huge", "Connection: close\r\n")),
        sock.shutdown(socket.SHUT_WR),
    ),
    "sends more during its response": lambda sock: sock.sendall(get("/never") * 3),
    "sent half a head": lambda sock: sock.sendall(b"GET / HT"),
    "stays after an error": lambda sock: sock.sendall(b"BAD\r\n\r\n" * 3),
    "sent half a body": lambda sock: sock.sendall(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"
    ),
    "says nothing": lambda sock: sock.sendall(get("/echo/1")),
}


@pytest.mark.parametrize("what", IDLERS)
def test_a_client_that_keeps_the_server_waiting_costs_no_cpu(serve: Serve, what: str) -> None:
    server = serve(APP)
    with deaf(server) as sock:
        IDLERS[what](sock)
        server.get("/count")
        began = cpu_s(server)
        select.select([], [], [], 0.5)  # the time over which it is measured
        spent = cpu_s(server) - began
    print(f"{spent * 1000:.0f} ms of CPU in 500 ms")
    assert spent <= 0.05


def test_responses_wait_for_a_client_that_reads_slowly(serve: Serve) -> None:
    server = serve(APP)
    with deaf(server) as sock:
        sock.sendall(get("/large") * 50)
        received = bytearray()
        while len(received) < 50 * 10_000:
            received += sock.recv(3000)
        wait_until(lambda: server.get("/count") == b"50")
        sock.shutdown(socket.SHUT_WR)
        received += read_all(sock)
    assert len(parse(bytes(received))) == 50


def test_requests_behind_the_last_one_do_not_reset_the_connection(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as sock:
        sock.sendall(get("/held", "Connection: close\r\n"))
        assert server.get("/count") == b"0"  # the server has read it, and reads no more for now
        sock.sendall(get("/echo/2") * 3)
        assert len(parse(read_all(sock))) == 1
        for _ in range(10):
            sock.sendall(get("/echo/3"))
    assert server.get("/count") == b"0"
