"""Clients of the admin listener that hang, read slowly or come all at once: the manager goes on."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading

from support.admin import LOCAL, admin_url, connect_to, get, request
from support.control import ask, control_path
from support.molds import descriptors_at_rest
from support.pool import MakePool
from support.responses import read_all, read_response
from support.waiting import wait_until

ADMIN = ("--admin", LOCAL)
TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_hundred_clients_at_once(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    found: list[int] = []
    clients = [
        threading.Thread(target=lambda: found.append(request(url, "/status.json")[0])) for _ in range(100)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert found == [200] * 100


def test_half_a_request_gets_408_and_keeps_no_other_client_waiting(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    with contextlib.ExitStack() as stack:
        halves = [stack.enter_context(connect_to(url)) for _ in range(100)]
        for half in halves:
            half.sendall(GET[:20])
        assert get(url, "/healthz") == "ok\n"
        for half in halves:
            assert read_all(half).startswith(b"HTTP/1.1 408 ")
    assert ask(control_path(server), "explain")["ok"]


def test_clients_that_idle_make_room_for_others(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    before = descriptors_at_rest(server, 2)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(connect_to(url))
            sock.sendall(GET)
            assert read_response(sock)[0] == 200
        assert server.descriptors() - before <= 256
        assert get(url, "/healthz") == "ok\n"


def test_a_client_that_never_reads_is_closed(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        slow.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                slow.send(GET * 10)
        assert get(url, "/healthz") == "ok\n"
        wait_until(lambda: is_closed(slow), "its time to be over", 40)
    assert get(url, "/healthz") == "ok\n"
    assert server.get("/one") == b"one"


def is_closed(sock: socket.socket) -> bool:
    try:
        sock.send(b"x")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


def test_clients_that_leave_and_live_pages_that_are_closed_are_no_lines_of_the_log(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    for _ in range(20):
        with connect_to(url) as sock:
            sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    assert get(url, "/healthz") == "ok\n"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [line for line in server.err if "client" in line] == []


def test_garbage_is_refused_and_stays_out_of_the_log(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /\x1b[2J HTTP/1.1\r\n\r\n",
        b"x" * 100_000,
        b"\r\n" * 50_000,
    ):
        with connect_to(url) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)
    with connect_to(url) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: \x1b[2Jevil\r\n\r\n")
        assert read_response(sock)[0] in (400, 403)
    assert get(url, "/healthz") == "ok\n"
    assert "\x1b" not in server.log
