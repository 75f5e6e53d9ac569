"""While a thread makes a body it serves no other request: those are handed on, or wait."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.leaving import reset
from support.pool import is_silent, read_bodies
from support.processes import children
from support.responses import parse, read_all, read_response
from support.server import Serve, Server
from support.slow_client import ask, begin, drain
from support.waiting import wait_until

APP = APPS / "wsgi_exclusive.py"

MANY = 400
"""Blocks of 64 KiB: far more than the kernel keeps for a client that does not read."""

GET = b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n"


Open = Callable[[socket.socket], socket.socket]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Closes at the end of the test what it was given."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def read_who(sock: socket.socket) -> tuple[str, int, int]:
    """Whether that request disturbed a body, how long its own was, and its process."""
    status, _, body = read_response(sock)
    assert status == 200
    word, size, pid = body.decode().split()
    return word, int(size), int(pid)


def who(sock: socket.socket) -> tuple[str, int]:
    sock.sendall(GET)
    word, _, pid = read_who(sock)
    return word, pid


def keep(server: Server, pid: int) -> socket.socket:
    """A connection that belongs to that worker."""
    while True:
        sock = server.connect()
        if who(sock)[1] == pid:
            return sock
        sock.close()


def wait_active(server: Server, count: int) -> list[int]:
    wait_until(lambda: len(server.workers("active")) == count, f"{count} active")
    return server.workers("active")


@pytest.mark.parametrize("path", ["/stream", "/written"])
def test_what_comes_to_a_worker_in_a_body_is_served_by_another(serve: Serve, opened: Open, path: str) -> None:
    server = serve(APP, "--workers", "2")
    workers = server.workers()
    clients = [opened(keep(server, pid)) for pid in workers for _ in range(3)]
    clients += [opened(server.connect()), opened(server.connect())]
    with begin(server, f"{path}?{MANY}"):
        (busy,) = wait_active(server, 1)
        responses = [who(sock) for sock in clients]
        assert {word for word, _ in responses} == {"alone"}
        assert busy not in {pid for _, pid in responses}
    assert server.workers() == workers


def test_more_than_the_queue_has_room_for_are_served_by_another_worker(serve: Serve, opened: Open) -> None:
    server = serve(APP, "--workers", "2")
    with begin(server, f"/stream?{MANY}"):
        (spare,) = wait_active(server, 1)
        stream, *clients = [opened(server.connect()) for _ in range(900)]
        (busy,) = {who(sock)[1] for sock in (stream, *clients)}
    wait_active(server, 0)
    stream.sendall(f"GET /stream?{MANY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert wait_active(server, 1) == [busy] != [spare]
    for sock in clients:
        sock.sendall(GET)
    responses = {read_who(sock) for sock in clients}
    assert responses == {("alone", 0, spare)}


@pytest.mark.parametrize("options", ["--workers 1", "--start 0"])
def test_without_another_worker_all_wait_for_the_end_of_the_body(
    serve: Serve, opened: Open, options: str
) -> None:
    server = serve(APP, *options.split())
    kept, upload, pipelines, new = (opened(server.connect()) for _ in range(4))
    assert who(kept)[0] == "alone"
    upload.sendall(b"POST /who HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
    pipelines.sendall(GET[:10])
    with begin(server, f"/stream?{MANY}") as reader:
        kept.sendall(GET)
        upload.sendall(b"def")
        pipelines.sendall(GET[10:] + GET * 40)
        new.sendall(GET)
        for sock in (kept, upload, pipelines, new):
            assert is_silent(sock, 0.1)
        assert drain(reader) > MANY * 65536
    assert read_who(kept)[:2] == read_who(new)[:2] == ("alone", 0)
    assert read_who(upload)[:2] == ("alone", 6)
    assert {body.split()[0] for body in read_bodies(pipelines, 41)} == {b"alone"}


def test_pipelined_requests_wait_for_the_body_before_them(serve: Serve) -> None:
    server = serve(APP, "--workers", "1")
    with server.connect() as sock:
        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        sock.sendall(f"GET /stream?{MANY} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + GET + last)
        stream, *others = parse(read_all(sock))
    assert len(stream.body) == MANY * 65536
    assert [other.body.split()[0] for other in others] == [b"alone", b"alone"]


def test_the_pool_grows_while_workers_are_in_bodies_and_the_last_request_waits(
    serve: Serve, opened: Open
) -> None:
    server = serve(APP, "--min-spare", "1", "--max-spare", "2", "--start", "1", "--max-clients", "3")
    readers = []
    for count in range(1, 4):
        readers.append(opened(begin(server, f"/stream?{MANY}")))
        wait_active(server, count)
    with server.connect() as waits:
        waits.sendall(GET)
        assert is_silent(waits)
        assert len(server.workers("active")) == 3
        assert drain(readers[1]) > MANY * 65536
        assert read_who(waits)[0] == "alone"


def test_a_kept_connection_waits_for_the_first_worker_that_is_free(serve: Serve, opened: Open) -> None:
    server = serve(APP, "--workers", "2")
    first = opened(begin(server, f"/stream?{MANY}"))
    (one,) = wait_active(server, 1)
    (other,) = set(server.workers()) - {one}
    kept = opened(keep(server, other))
    opened(begin(server, f"/stream?{MANY}"))
    wait_active(server, 2)
    kept.sendall(GET)
    assert is_silent(kept)
    assert drain(first) > MANY * 65536
    assert read_who(kept) == ("alone", 0, one)


@pytest.mark.parametrize("path", ["/stream?400", "/undecided"])
def test_a_client_that_leaves_frees_the_thread(serve: Serve, path: str) -> None:
    server = serve(APP, "--workers", "1")
    reader = ask(server, path)
    wait_active(server, 1)
    with server.connect() as waits:
        waits.sendall(GET)
        assert is_silent(waits)
        reset(reader)
        assert read_who(waits)[0] == "alone"
    assert "failed" not in server.log


def test_a_client_that_reads_nothing_frees_the_thread_after_the_timeout(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--send-timeout", "0.5")
    with begin(server, f"/stream?{MANY}"), server.connect() as waits:
        waits.sendall(GET)
        assert read_who(waits)[0] == "alone"
    server.wait_log("the client did not read its response")


def test_a_part_that_takes_long_delays_no_other_client(serve: Serve, opened: Open, tmp_path: Path) -> None:
    server = serve(APP, "--workers", "2")
    kept = [opened(keep(server, pid)) for pid in server.workers()]
    with ask(server, f"/blocked?{tmp_path}/go") as reader:
        (busy,) = wait_active(server, 1)
        assert busy not in {who(sock)[1] for sock in kept}
        (tmp_path / "go").touch()
        assert b"second" in read_all(reader)


def test_a_connection_that_its_client_closes_is_not_kept_for_the_body(serve: Serve) -> None:
    server = serve(APP, "--workers", "1")
    kept = server.connect()
    who(kept)
    with begin(server, f"/stream?{MANY}"):
        (worker,) = wait_active(server, 1)
        before = server.descriptors(worker)
        kept.close()
        wait_until(lambda: server.descriptors(worker) < before, "its end")


def test_a_server_that_stops_finishes_the_body_and_what_waits_for_it(serve: Serve, opened: Open) -> None:
    server = serve(APP, "--workers", "1")
    kept, upload = opened(server.connect()), opened(server.connect())
    who(kept)
    upload.sendall(b"POST /who HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
    with begin(server, f"/stream?{MANY}") as reader:
        wait_active(server, 1)
        kept.sendall(GET)
        upload.sendall(b"def")
        assert is_silent(kept)
        server.signal(signal.SIGTERM)
        wait_until(lambda: server.workers("draining"), "the worker to drain")
        assert drain(reader) > MANY * 65536
    assert read_who(kept)[:2] == ("alone", 0)
    assert read_who(upload)[:2] == ("alone", 6)
    assert server.wait() == 0


def test_a_body_that_does_not_end_is_cut_at_the_end_of_the_grace(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--graceful-timeout", "0.5")
    workers = children(server.pid)
    with begin(server, f"/stream?{MANY}"):
        assert server.stop() == 0
    assert workers
    server.wait_log("closing 1 connections that did not end")


# --- threads ------------------------------------------------------------------------------------------------


def test_with_threads_each_makes_one_body_at_a_time(serve: Serve, opened: Open) -> None:
    server = serve(APP, "--workers", "1", "--threads", "2")
    kept, new = opened(server.connect()), opened(server.connect())
    who(kept)
    readers = [opened(begin(server, f"/stream?{MANY}")) for _ in range(2)]
    wait_active(server, 1)
    for sock in (kept, new):
        sock.sendall(GET)
    for sock in (kept, new):
        assert is_silent(sock)
    assert drain(readers[0]) > MANY * 65536
    for sock in (kept, new):
        assert read_who(sock)[0] == "alone"


def test_what_waits_for_threads_goes_to_the_first_worker_that_has_one(serve: Serve, opened: Open) -> None:
    server = serve(APP, "--workers", "2", "--threads", "2", "--concurrency", "50")
    readers = [opened(begin(server, f"/stream?{MANY}")) for _ in range(4)]
    wait_active(server, 2)
    waiting = [opened(server.connect()) for _ in range(6)]
    for sock in waiting:
        sock.sendall(GET)
    assert all(is_silent(sock, 0.05) for sock in waiting)
    assert drain(readers[2]) > MANY * 65536
    assert len({read_who(sock)[2] for sock in waiting}) == 1
