"""New handlers for workers that run: every one is replaced, and no request is lost."""

from __future__ import annotations

import pytest

from support.load import Load
from support.pool import PID, MakePool, pid_serving
from support.responses import read_response
from support.waiting import wait_until

NEW = "[{'dir': '^/one$', 'session': 'PAGES', 'event': 'two'}, *HANDLERS]"
FIVE = {"start_servers": 5, "min_spare_servers": 5, "max_spare_servers": 5, "max_clients": 20}


@pytest.mark.parametrize("pause_s", [0.0, 0.03], ids=["hard", "with pauses"])
def test_replace_reaches_running_workers_without_a_lost_request(pool: MakePool, pause_s: float) -> None:
    server = pool(**FIVE)
    old = set(server.wait_workers(5))
    with Load(server, 16, "/one", pause_s) as load:
        load.more(200)
        assert load.responses.keys() == {(200, b"one")}
        assert server.manager(f"kernel.call('HTTPD', 'SETHANDLERS', {NEW}, True)") is True
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        # The load may have made the pool grow before it was replaced.
        wait_until(
            lambda: {worker["generation"] for worker in server.status()["workers"]} == {2}, "a new generation"
        )
        assert {server.get("/one") for _ in range(20)} == {b"two"}
        load.more(200)
    print(load.responses, "refused", load.refused)
    assert load.lost == []
    assert load.refused == 0
    assert load.responses.keys() == {(200, b"one"), (200, b"two")}
    assert "ERROR" not in server.log


def test_replacing_again_and_again_under_load_loses_no_request(pool: MakePool) -> None:
    server = pool(**FIVE)
    server.wait_workers(5)
    with Load(server, 16, "/one") as load:
        for generation in range(2, 8):
            server.manager(f"server.set_handlers({NEW if generation % 2 else 'HANDLERS'}, replace=True)")
            load.more(100)
        wait_until(
            lambda: {worker["generation"] for worker in server.status()["workers"]} == {7},
            "the last generation",
        )
    assert load.lost == []
    assert load.refused == 0


def test_a_pool_that_is_at_maxclients_is_replaced_as_well(pool: MakePool) -> None:
    server = pool("--workers", "3", "--check-spares-interval", "60")
    old = set(server.wait_workers(3))
    with Load(server, 8, "/one") as load:
        load.more(50)
        server.manager(f"server.set_handlers({NEW}, replace=True)")
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        load.more(50)
    assert load.lost == []
    server.wait_workers(3)
    assert server.status()["manager"]["forked"] == 6
    assert server.get("/one") == b"two"


def test_busy_workers_are_replaced_when_they_have_responded(pool: MakePool) -> None:
    server = pool("--workers", "3", "--check-spares-interval", "60")
    old = set(server.wait_workers(3))
    server.hold(3, "/ahold")
    wait_until(lambda: server.totals["active"] == 3, "all are held")
    server.manager(f"server.set_handlers({NEW}, replace=True)")
    wait_until(lambda: server.get("/one") == b"two", "a new one responses meanwhile")
    wait_until(lambda: server.totals["draining"] == 3, "the old ones take no more")
    assert old <= set(server.workers())
    assert sorted(map(int, server.release())) == sorted(old)
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    server.wait_workers(3)


def test_an_idle_connection_of_a_replaced_worker_goes_on_in_another(pool: MakePool) -> None:
    server = pool("--workers", "1")
    with server.connect() as sock:
        old = pid_serving(sock)
        server.manager("server.set_handlers(HANDLERS, replace=True)")
        wait_until(lambda: old not in server.workers(), "it to go")
        assert pid_serving(sock) in server.workers()


def test_a_connection_that_cannot_move_may_ask_once_more(pool: MakePool) -> None:
    server = pool("--workers", "1", app="pool_functions.py")
    with server.connect() as sock:
        sock.sendall(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        old = int(read_response(sock)[2])
        server.manager("server.set_handlers(HANDLERS, replace=True)")
        wait_until(lambda: old in server.workers("draining"), "it drains")
        sock.sendall(PID)
        status, fields, body = read_response(sock)
        assert (status, fields["connection"], int(body)) == (200, "close", old)
        assert sock.recv(1) == b""


def test_replace_while_a_replace_is_under_way_ends_with_the_last_handlers(pool: MakePool) -> None:
    server = pool(**FIVE)
    server.wait_workers(5)
    server.manager(f"[server.set_handlers(HANDLERS, replace=True), server.set_handlers({NEW}, replace=True)]")
    wait_until(
        lambda: {worker["generation"] for worker in server.status()["workers"]} == {3}, "the third generation"
    )
    server.wait_workers(5)
    assert {server.get("/one") for _ in range(10)} == {b"two"}


def test_handlers_that_cannot_be_used_replace_nothing(pool: MakePool) -> None:
    server = pool(**FIVE)
    old = set(server.wait_workers(5))
    server.manager("kernel.post('HTTPD', 'SETHANDLERS', [{'dir': '('}], True)")
    server.wait_log("SETHANDLERS")
    assert server.status()["manager"]["generation"] == 1
    assert set(server.workers()) == old
    assert server.get("/one") == b"one"


def test_recycling_workers_under_load_loses_no_request(pool: MakePool) -> None:
    server = pool(**FIVE, max_requests_per_child=20)
    server.wait_workers(5)
    with Load(server, 8, "/one") as load:
        load.more(1000)
        wait_until(lambda: server.status()["manager"]["forked"] > 20, "so many new workers")
    assert load.lost == []
    assert load.refused == 0
