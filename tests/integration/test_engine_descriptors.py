"""No descriptor left: the server goes on with the clients it has, logs that once, and accepts more later."""

from __future__ import annotations

import contextlib
import resource
import socket

import psutil
import pytest

from support.apps import APPS
from support.leaving import reset
from support.responses import only, read_all, read_response
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "engine_descriptors.py"

FILES = 48
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = GET.replace(b"/", b"/stream", 1)
SAID = "no clients are accepted"
OVER = "clients are accepted again"
CLOSED = "idle connections are closed to accept new clients"


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def crowd(
    server: Server, stack: contextlib.ExitStack, number: int, request: bytes = STREAM
) -> list[socket.socket]:
    """So many clients that have sent a request; more than the server can accept."""
    socks = [stack.enter_context(server.connect()) for _ in range(number)]
    for sock in socks:
        sock.sendall(request)
    return socks


def with_response(socks: list[socket.socket]) -> list[socket.socket]:
    """Those that have their response."""
    found = []
    for sock in socks:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            if sock.recv(65536, socket.MSG_PEEK):
                found.append(sock)
        sock.settimeout(10)
    return found


def count(server: Server, text: str) -> int:
    return sum(text in line for line in list(server.err))


def test_a_server_without_descriptors_serves_what_it_has_and_recovers(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        socks = crowd(server, stack, 100)
        server.wait_log(SAID)
        served = with_response(socks)
        print(f"{len(served)} of 100 clients are served with {FILES} descriptors")
        assert 20 < len(served) < FILES
        # Each that leaves makes room for another, without a line in the log.
        waiting = [sock for sock in socks if sock not in served]
        for sock in served[:10]:
            reset(sock)
        wait_until(lambda: len(with_response(waiting)) >= 10)
        assert (count(server, SAID), count(server, OVER)) == (1, 0)
    server.wait_log(OVER)
    assert server.get("/") == b"hello"
    assert (count(server, SAID), count(server, OVER)) == (1, 1)


def test_the_next_shortage_is_said_again(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    for round_ in (1, 2):
        with contextlib.ExitStack() as stack:
            crowd(server, stack, 60)
            wait_until(lambda: count(server, SAID) == round_)  # noqa: B023
        wait_until(lambda: count(server, OVER) == round_)  # noqa: B023
    assert server.get("/") == b"hello"


def test_a_shortage_costs_no_cpu(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        crowd(server, stack, 100)
        server.wait_log(SAID)
        process = psutil.Process(server.pid)
        began = sum(process.cpu_times()[:2])
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(0.6)
        spent = sum(process.cpu_times()[:2]) - began
    print(f"{spent * 1000:.0f} ms of CPU in 600 ms")
    assert spent <= 0.06


def test_a_body_that_needs_a_file_is_507_when_there_is_none(serve: Serve) -> None:
    server = serve(APP, "--spool-above", "10", preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(server.connect())
        mine.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
        crowd(server, stack, 60)
        wait_until(lambda: count(server, SAID) == 1)
        mine.sendall(b"x" * 20)
        assert only(read_all(mine)).status == 507
    server.wait_log("could not be stored")
    assert server.request("/body", "POST", b"x" * 20)[2] == b"20"


# --- idle connections make room ----------------------------------------------------------------------


def answered(server: Server, stack: contextlib.ExitStack, number: int) -> list[socket.socket]:
    """So many clients that had a response each, in their order, and stay."""
    socks = []
    for _ in range(number):
        (sock,) = crowd(server, stack, 1, GET)
        assert read_response(sock)[2] == b"hello"
        socks.append(sock)
    return socks


def is_open(sock: socket.socket) -> bool:
    sock.sendall(GET)
    with contextlib.suppress(ConnectionError):
        return bool(sock.recv(65536))
    return False


def test_the_connection_that_idles_for_longest_makes_room_for_a_new_client(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        socks = answered(server, stack, 100)
        server.wait_log(CLOSED)
        assert (count(server, CLOSED), count(server, SAID)) == (1, 0)
        open_ = [is_open(sock) for sock in socks]
        assert 20 < sum(open_) < FILES
        assert not any(open_[:50])
        assert all(open_[-20:])


def test_a_connection_that_was_used_again_has_not_idled_for_long(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        first, *_ = answered(server, stack, 10)
        for _ in range(5):
            answered(server, stack, 10)
            assert is_open(first)


def test_connections_with_a_request_make_no_room(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        streams = crowd(server, stack, 15)
        wait_until(lambda: len(with_response(streams)) == 15)
        answered(server, stack, 60)
        reset(stack.enter_context(server.connect()))
        for sock in streams:
            sock.setblocking(False)
            assert sock.recv(65536).endswith(b"hello\r\n")
            with pytest.raises(BlockingIOError):
                sock.recv(1)


def test_a_client_that_has_its_last_response_and_does_not_leave_makes_room(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            (sock,) = crowd(server, stack, 1, b"GET / HTTP/1.1\r\n\r\nunread")
            assert read_response(sock)[0] == 400
    server.wait_log(CLOSED)
    assert (count(server, CLOSED), count(server, SAID)) == (1, 0)


def test_heads_that_do_not_end_make_room_if_nothing_idles(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        (first,) = answered(server, stack, 1)
        crowd(server, stack, 100, b"GET / HTTP/1.1\r\nHost:")
        server.wait_log(CLOSED)
        (last,) = crowd(server, stack, 1, b"GET / HTTP/1.1\r\nHost:")
        assert server.get("/") == b"hello"
        assert not is_open(first), "it idled"
        last.sendall(b" a\r\n\r\n")
        assert read_response(last)[2] == b"hello"
        assert count(server, SAID) == 0


def test_files_of_the_application_are_made_up_for(serve: Serve) -> None:
    server = serve(APP, preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        answered(server, stack, 20)
        taken = int(server.get("/take"))
        assert taken > 5
        # No descriptor is left, and none becomes free but those of idle connections.
        answered(server, stack, 10)
    assert count(server, SAID) == 0


def test_the_soft_limit_of_open_files_is_raised(serve: Serve) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))

    server = serve(APP, preexec_fn=limit)
    assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE) == (256, 256)
