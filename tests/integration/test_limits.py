"""Limits on the number of clients: each refuses the one that is too many, and nobody else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from prefork.pool.scoreboard import LIMITED
from support import tls
from support.apps import APPS
from support.http2 import HEADERS, http2
from support.network import HOSTS, in_own_network
from support.pool import PID, MakePool, Pool, pid_serving
from support.responses import Message, only, read_all, read_response
from support.server import Serve, Server, running
from support.waiting import DEADLINE_S, wait_until


@contextlib.contextmanager
def clients(server: Server, address: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections from an address of this machine, to the same one."""
    place, source = (address, server.port), (address, 0)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(place, timeout=DEADLINE_S, source_address=source))
            for _ in range(count)
        ]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def limited(server: Server) -> dict[str, int]:
    """How often each limit was applied, without those that were not."""
    totals = server.status()["totals"]
    return {name.removeprefix("limited_"): totals[name] for name in LIMITED if totals[name]}


def lines(server: Server, text: str) -> list[str]:
    return [line for line in server.err if text in line]


# --- connections of one address ----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
@in_own_network
def test_an_address_has_a_maximum_over_all_workers(pool: MakePool, version: str) -> None:
    address, other = HOSTS[version]
    server = pool("--bind", "[::]:0", "--workers", "3", "--max-connections-per-address", "4")
    server.wait_workers(3)
    with clients(server, address, 4) as admitted:
        for sock in admitted:
            pid_serving(sock)
        for _ in range(3):
            with clients(server, address, 1) as (sock,):
                sock.sendall(PID)  # a silent client is accepted late (TCP_DEFER_ACCEPT)
                refused = only(read_all(sock))
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["connection"] == "close"
        assert b"too many connections from this address" in refused.body
        for sock in admitted:
            pid_serving(sock)
        with clients(server, other, 4) as others:
            for sock in others:
                pid_serving(sock)
        local = "127.0.0.1" if version == "ipv4" else "::1"
        with clients(server, local, 6) as proxies:
            for sock in proxies:
                pid_serving(sock)
        admitted[0].close()

        def is_admitted() -> bool:
            with clients(server, address, 1) as (sock,):
                sock.sendall(PID)
                return read_response(sock)[0] == 200

        wait_until(is_admitted, "room for another one")
    counted = limited(server)["address"]
    assert counted >= 3
    assert address in server.wait_log("--max-connections-per-address")
    assert len(lines(server, "--max-connections-per-address")) == 1


@in_own_network
def test_what_a_killed_worker_had_does_not_count(pool: MakePool) -> None:
    address, _ = HOSTS["ipv4"]
    server = pool("--bind", "0.0.0.0:0", "--workers", "1", "--max-connections-per-address", "2")
    for _ in range(3):
        with clients(server, address, 2) as held:
            pids = {pid_serving(sock) for sock in held}
            (pid,) = pids
            server.manager(f"os.kill({pid}, 9)")
            for sock in held:
                assert read_all(sock) == b""
        server.wait_without(pids)
    assert "address" not in limited(server)


@in_own_network
def test_connections_that_move_are_counted_where_they_are(pool: MakePool) -> None:
    address, _ = HOSTS["ipv4"]
    server = pool("--bind", "0.0.0.0:0", "--workers", "2", "--max-connections-per-address", "3")
    server.wait_workers(2)
    with clients(server, address, 3) as (one, two, three):
        pids = [pid_serving(sock) for sock in (one, two, three)]
        stuck = max(pids, key=pids.count)
        socks = zip((one, two, three), pids, strict=True)
        first, second, *_ = [sock for sock, pid in socks if pid == stuck]
        server.block_worker(first)
        assert pid_serving(second) != stuck  # handed off
        with clients(server, address, 1) as (fourth,):
            fourth.sendall(PID)
            assert only(read_all(fourth)).status == 503
        server.release()
        assert read_response(first)[0] == 200
    wait_until(lambda: server.totals["connections"] == 0, "them to be gone")
    with clients(server, address, 3) as again:
        for sock in again:
            pid_serving(sock)


@in_own_network
def test_half_handshakes_count(pool: MakePool) -> None:
    address, _ = HOSTS["ipv4"]
    server = pool("--bind", "0.0.0.0:0", *tls.OPTIONS, "--max-connections-per-address", "3")
    with clients(server, address, 3) as silent:
        for sock in silent:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # a ClientHello begins
        wait_until(lambda: server.status()["totals"]["connections"] == 3, "them to be accepted")
        with clients(server, address, 1) as (sock,):
            sock.sendall(b"\x16\x03\x01")
            assert read_all(sock) == b""
    assert limited(server)["address"] == 1


# --- connections of one worker -----------------------------------------------------------------------


def test_a_worker_that_is_crowded_closes_the_connection_that_idles_longest(pool: MakePool) -> None:
    server = pool("--workers", "1", "--max-connections", "3")
    with clients(server, "127.0.0.1", 3) as held:
        for sock in held:
            pid_serving(sock)
            time.sleep(0.01)  # their order
        with clients(server, "127.0.0.1", 1) as (late,):
            pid_serving(late)
            assert read_all(held[0]) == b""
            pid_serving(held[1])
    assert limited(server)["connections"] >= 1
    server.wait_log("--max-connections connections open")
    assert len(lines(server, "--max-connections connections open")) == 1


def test_a_crowded_worker_accepts_when_one_has_left(pool: MakePool) -> None:
    server = pool("--workers", "1", "--concurrency", "100", "--max-connections", "2")
    held = server.hold(2, "/ahold")
    wait_until(lambda: server.totals["in_flight"] == 2, "two requests")
    with clients(server, "127.0.0.1", 1) as (late,):
        late.sendall(PID)
        wait_until(lambda: limited(server).get("connections"), "the limit to be applied")
        late.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.recv(1)
        late.settimeout(DEADLINE_S)
        reset(held.pop())
        assert read_response(late)[0] == 200
    assert lines(server, "open files") == []


# --- requests of one connection ----------------------------------------------------------------------


def test_a_connection_brings_so_many_requests(pool: MakePool) -> None:
    server = pool("--workers", "1", "--max-requests-per-connection", "3")
    with server.connect() as sock:
        sock.sendall(PID * 5)
        with sock.makefile("rb") as stream:
            raw = stream.read()
    assert raw.count(b"HTTP/1.1 200 OK") == 3
    assert raw.count(b"Connection: close") == 1
    wait_until(lambda: limited(server) == {"requests": 1}, "it is counted")


def test_its_requests_count_where_it_moves(pool: MakePool) -> None:
    server = pool("--workers", "2", "--max-requests-per-connection", "3")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    assert pid_serving(second) != stuck
    second.sendall(PID)
    assert read_response(second)[1]["connection"] == "close"
    server.release()


# --- requests that wait ------------------------------------------------------------------------------


def refusals(socks: list[socket.socket]) -> list[Message]:
    """The responses to those that get one while the others wait."""
    found = []
    for sock in socks:
        sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            found.append(only(read_all(sock)))
        sock.settimeout(DEADLINE_S)
    return found


@pytest.mark.parametrize("interface", ["events", "threads"])
def test_new_clients_beyond_the_queue_get_503_at_once(interface: str, pool: MakePool, serve: Serve) -> None:
    if interface == "events":
        server: Server = pool("--workers", "2", "--max-queue", "5")
        assert isinstance(server, Pool)
        server.wait_workers(2)
        server.hold(2)
    else:
        server = serve(APPS / "wsgi_stuck.py", "--workers", "2", "--threads", "2", "--max-queue", "5")
    with contextlib.ExitStack() as stack:
        if interface == "threads":
            stuck = [stack.enter_context(server.connect()) for _ in range(4)]
            for sock in stuck:
                sock.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.status()["totals"]["active"] == 2, "a busy pool")
        late = [stack.enter_context(server.connect()) for _ in range(20)]
        for sock in late:
            sock.sendall(PID)
        wait_until(lambda: limited(server).get("queue", 0) >= 15, "the limit to be applied")
        refused = refusals(late)
        assert 15 <= len(refused) <= 16
        assert {(one.status, one.headers["retry-after"]) for one in refused} == {(503, "1")}
        assert b"too many requests wait" in refused[0].body
        if isinstance(server, Pool):
            server.release()
            assert sum(is_served(sock) for sock in late) == 20 - len(refused)
        server.wait_log("--max-queue")  # once a main thread is free
        assert len(lines(server, "--max-queue")) == 1


def test_a_pool_of_one_whose_worker_is_in_a_slow_call_refuses_new_clients(serve: Serve) -> None:
    server = serve(APPS / "wsgi_stuck.py", "--workers", "1", "--max-queue", "2", "--graceful-timeout", "0.1")
    with contextlib.ExitStack() as stack:
        stuck = stack.enter_context(server.connect())
        stuck.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.status()["totals"]["active"] == 1, "a busy pool")
        late = [stack.enter_context(server.connect()) for _ in range(6)]
        for sock in late:
            sock.sendall(PID)
        wait_until(lambda: limited(server).get("queue") == 4, "the limit to be applied")
        assert [one.status for one in refusals(late)] == [503] * 4


@pytest.mark.parametrize("more", [(), ("--request-timeout", "600")], ids=["alone", "with a request timeout"])
def test_requests_on_known_connections_beyond_the_queue_get_503(
    more: tuple[str, ...], pool: MakePool
) -> None:
    server = pool("--workers", "1", "--max-queue", "3", *more)
    with clients(server, "127.0.0.1", 9) as (first, *others):
        for sock in (first, *others):
            pid_serving(sock)
        first.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.totals["active"] == 1, "a blocked worker")
        for sock in others:
            sock.sendall(PID)
        wait_until(lambda: limited(server).get("queue") == 5, "the limit to be applied")
        refused = refusals(others)
        assert [one.status for one in refused] == [503] * 5
        server.release()
        assert read_response(first)[0] == 200
        served = [is_served(sock) for sock in others]
        assert sum(served) == 3


def is_served(sock: socket.socket) -> bool:
    """Whether a request was served; the connection of one that was refused is closed."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return read_response(sock)[0] == 200
    return False


# --- what a request may have -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "name", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "line", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", "head", 431),
        (b"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", "body", 413),
        (b"GET / HTTP/1.1\r\nHo", "rate", 408),
        (b"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1", "rate", 408),
    ],
)
def test_a_request_beyond_a_limit_is_counted(small: Server, request_: bytes, name: str, status: int) -> None:
    before = limited(small).get(name, 0)
    assert only(small.raw(request_)).status == status
    wait_until(lambda: limited(small).get(name, 0) == before + 1, "it is counted")


@pytest.mark.parametrize(
    ("path", "method", "fields", "body", "name", "status"),
    [
        ("/" + "a" * 20_000, "GET", [], None, "line", 414),
        ("/", "GET", [(f"a-{number}", "b") for number in range(200)], None, "head", 431),
        ("/pid", "POST", [("content-length", "99")], b"", "body", 413),
        ("/pid", "POST", [], b"more than ten bytes", "body", 413),
        ("/pid", "POST", [("content-length", "9")], None, "rate", 408),
    ],
)
def test_a_stream_beyond_a_limit_is_counted(
    small: Server,
    path: str,
    method: str,
    fields: list[tuple[str, str]],
    body: bytes | None,
    name: str,
    status: int,
) -> None:
    before = limited(small).get(name, 0)
    with http2(small) as client:
        stream = client.ask(path, method, fields, body=body, ended=method == "GET")
        assert client.response(stream).status == status
        wait_until(lambda: limited(small).get(name, 0) == before + 1, "it is counted")


def test_a_header_block_that_does_not_come_in_time_is_counted(small: Server) -> None:
    before = limited(small).get("rate", 0)
    with http2(small) as client:
        client.ping()
        client.send(HEADERS, 0, 1)
        client.read_to_end()
    wait_until(lambda: limited(small).get("rate", 0) == before + 1, "it is counted")


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    flags = ("--max-body", "10", "--header-timeout", "0.3", "--body-min-rate", "100k", "--h2c")
    with running(str(APPS / "pool_app.py"), "--bind", "127.0.0.1:0", "--workers", "1", *flags) as server:
        yield server
