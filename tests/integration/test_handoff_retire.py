"""Workers that end hand off their connections: no client sees it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import tls
from support.load import Load
from support.pool import PID, MakePool, Pool, is_silent, pid_serving, read_bodies
from support.processes import alive, state
from support.responses import read_response
from support.waiting import wait_until

FIVE = {"start_servers": 5, "min_spare_servers": 5, "max_spare_servers": 5, "max_clients": 20}


@tls.plain_and_tls
@pytest.mark.parametrize("pause_s", [0.0, 0.02], ids=["hard", "with pauses"])
def test_recycling_under_load_closes_no_connection(
    pool: MakePool, pause_s: float, flags: Sequence[str]
) -> None:
    server = pool(*flags, **FIVE, max_requests_per_child=20)
    server.wait_workers(5)
    with Load(server, 8, "/one", pause_s) as load:
        load.more(1000)
        wait_until(lambda: server.status()["manager"]["forked"] > 20, "so many new workers")
    assert load.lost == []
    assert load.refused == 0
    assert load.opened == 8

    def are_adopted() -> bool:
        totals = server.totals
        return totals["handed_off"] == totals["adopted"] > 20

    wait_until(are_adopted, "what is in the queue to be adopted")


def test_recycling_a_pool_of_one_closes_no_connection(pool: MakePool) -> None:
    server = pool("--workers", "1", max_requests_per_child=20)
    server.wait_workers(1)
    with Load(server, 4, "/one") as load:
        load.more(400)
    assert load.lost == []
    assert load.opened == 4


def test_recycling_serves_pipelined_requests_before_it_hands_on(pool: MakePool) -> None:
    server = pool("--workers", "2", max_requests_per_child=3)
    server.wait_workers(2)
    with server.connect() as sock:
        for _ in range(20):
            sock.sendall(PID * 5)
            read_bodies(sock, 5)


@tls.plain_and_tls
def test_hang_up_under_load_closes_no_connection(pool: MakePool, flags: Sequence[str]) -> None:
    server = pool(*flags, **FIVE)
    old = set(server.wait_workers(5))
    with Load(server, 16, "/one") as load:
        load.more(200)
        server.signal(signal.SIGHUP)
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        load.more(200)
    assert load.lost == []
    assert load.opened == 16
    assert "ERROR" not in server.log


def test_an_async_response_of_a_worker_that_leaves_does_not_end_its_connection(pool: MakePool) -> None:
    server = pool("--workers", "1")
    (old,) = server.wait_workers(1)
    _, (sock,) = server.connect_to_one_worker(1)
    sock.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.totals["active"] == 1, "it is held")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.totals["draining"] == 1, "it drains")
    server.release()
    status, fields, body = read_response(sock)
    assert (status, int(body)) == (200, old)
    assert "connection" not in fields
    assert pid_serving(sock) != old
    wait_until(lambda: not alive(old), "the old one to go")


def test_a_pool_that_pauses_hands_nothing_on(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    with server.connect() as sock:
        pid_serving(sock)
        server.manager("[kernel.post('HTTPD', 'STOPLISTEN'), 1][1]")
        wait_until(lambda: server.totals["workers"] == 0, "all to go")
        assert sock.recv(1) == b""
    assert server.totals["handed_off"] == 0


def queued(pool: MakePool) -> tuple[Pool, int, int, socket.socket, socket.socket]:
    """A pool of two in whose queue a request waits: one worker is stuck, the other stopped."""
    server = pool("--workers", "2")
    workers = server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    (other,) = set(workers) - {stuck}
    server.block_worker(first)
    os.kill(other, signal.SIGSTOP)
    wait_until(lambda: state(other) == "T", "it stands still")
    before = server.totals["handed_off"]
    second.sendall(PID)
    wait_until(lambda: server.totals["handed_off"] > before, "it is in the queue")
    return server, stuck, other, first, second


def test_a_graceful_stop_serves_what_is_in_the_queue(pool: MakePool) -> None:
    server, stuck, other, first, second = queued(pool)
    server.signal(signal.SIGTERM)
    wait_until(lambda: server.status()["manager"]["stopping"], "it stops")
    os.kill(other, signal.SIGCONT)
    assert int(read_response(second)[2]) == other
    server.release()
    assert int(read_response(first)[2]) == stuck
    assert server.wait() == 0


def test_the_last_worker_to_stop_serves_what_no_other_did(pool: MakePool) -> None:
    server, stuck, other, first, second = queued(pool)
    server.signal(signal.SIGTERM)
    wait_until(lambda: server.status()["manager"]["stopping"], "it stops")
    os.kill(other, signal.SIGKILL)
    assert is_silent(second, 0.0)
    server.release()
    assert int(read_response(first)[2]) == stuck
    assert int(read_response(second)[2]) == stuck
    assert server.wait() == 0


def test_the_queue_survives_the_worker_that_would_have_come_to_it(pool: MakePool) -> None:
    server, stuck, other, first, second = queued(pool)
    os.kill(other, signal.SIGKILL)
    pid = int(read_response(second)[2])
    assert pid not in (stuck, other)
    server.release()
    assert int(read_response(first)[2]) == stuck


def test_what_was_handed_off_survives_the_stuck_worker(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    spare = pid_serving(second)
    os.kill(stuck, signal.SIGKILL)
    assert first.recv(1) == b""
    assert pid_serving(second) == spare


def test_a_kept_connection_does_not_starve_behind_new_clients(pool: MakePool) -> None:
    """Each worker serves one request: the next one of a kept connection waits in the queue."""
    server = pool("--workers", "2", max_requests_per_child=1)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            server.raw(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    with server.connect() as kept, ThreadPoolExecutor(4) as threads:
        floods = [threads.submit(flood) for _ in range(4)]
        try:
            for _ in range(5):
                kept.sendall(PID)
                read_bodies(kept, 1)
        finally:
            over.set()
        for flooding in floods:
            flooding.result()
