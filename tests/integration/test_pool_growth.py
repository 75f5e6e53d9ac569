"""How the pool grows when its spares are taken, and what happens when it cannot."""

from __future__ import annotations

import time

import pytest

from support.pool import MakePool
from support.waiting import wait_until

BLOCKING_AND_ASYNC = pytest.mark.parametrize("path", ["/hold", "/ahold"], ids=["blocking", "async"])


@BLOCKING_AND_ASYNC
def test_five_spares_taken_at_once_are_five_spares_again_at_once(pool: MakePool, path: str) -> None:
    # No clock can help: the pool is woken by the worker that takes a spare, or not at all.
    server = pool(min_spare_servers=5, max_spare_servers=9, start_servers=5, check_spares_interval=60)
    server.wait_spares(5)
    began = time.monotonic()
    server.hold(5, path)
    wait_until(lambda: server.totals["active"] == 5, "five held")
    server.wait_spares(5)
    took_s = time.monotonic() - began
    print(f"5 spares again {took_s * 1000:.0f} ms after 5 requests")
    assert took_s < 0.5
    assert len(set(server.release())) == 5, "each by a worker of its own"


@BLOCKING_AND_ASYNC
def test_64_held_requests_get_64_workers(pool: MakePool, path: str) -> None:
    server = pool(min_spare_servers=5, max_spare_servers=9, start_servers=5, check_spares_interval=60)
    server.wait_spares(5)
    began = time.monotonic()
    server.hold(64, path)
    wait_until(lambda: server.totals["active"] == 64, "64 at work")
    print(f"64 workers {(time.monotonic() - began) * 1000:.0f} ms after 64 requests")
    server.wait_spares(5)
    assert len(set(server.release())) == 64


def test_a_spare_that_leaves_by_itself_is_made_good_at_once(pool: MakePool) -> None:
    server = pool(min_spare_servers=3, max_spare_servers=3, start_servers=3, check_spares_interval=60)
    server.wait_spares(3)
    assert server.worker("server.shutdown(graceful=True)") is True
    wait_until(lambda: server.status()["manager"]["forked"] == 4, "its replacement")
    server.wait_spares(3)


def test_when_all_maxclients_workers_are_active_a_further_connection_is_accepted(pool: MakePool) -> None:
    server = pool(
        min_spare_servers=1, max_spare_servers=2, start_servers=3, max_clients=3, check_spares_interval=60
    )
    server.hold(3, "/ahold")
    wait_until(lambda: server.status()["manager"]["overcommit"], "no spare")
    assert server.totals["active"] == 3
    for _ in range(10):
        assert int(server.get("/pid")) in server.workers()
    server.hold(9, "/ahold")
    wait_until(lambda: server.totals["in_flight"] == 12, "all are inside")
    assert len(server.release()) == 12
    wait_until(lambda: not server.status()["manager"]["overcommit"] or server.get("/pid"), "calm")


def test_after_an_overcommit_active_workers_leave_new_connections_to_spares(pool: MakePool) -> None:
    server = pool(
        min_spare_servers=1, max_spare_servers=2, start_servers=2, max_clients=2, check_spares_interval=0.1
    )
    server.hold(2, "/ahold")
    wait_until(lambda: server.status()["manager"]["overcommit"], "no spare")
    server.release()
    wait_until(lambda: not server.status()["manager"]["overcommit"], "one spare again")
    (server.directory / "release").unlink()
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "one held")
    spare = server.workers("spare")
    # Not at once on a busy machine: while the spare one waits for a core, the other serves.
    wait_until(lambda: {int(server.get("/pid")) for _ in range(20)} == set(spare), "the spare to serve all")


def test_an_overcommit_ends_as_soon_as_a_worker_is_spare(
    pool: MakePool,
) -> None:
    server = pool("--workers", "2", check_spares_interval=60)
    server.wait_workers(2)
    server.hold(2, "/ahold")
    wait_until(lambda: server.status()["manager"]["overcommit"], "no spare")
    server.release()
    server.wait_spares(2)
    (server.directory / "release").unlink()
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "one held")
    assert server.status()["manager"]["overcommit"], "its manager has not looked"
    spare = server.workers("spare")
    # Not at once on a busy machine: while the spare one waits for a core, the other serves.
    wait_until(lambda: {int(server.get("/pid")) for _ in range(20)} == set(spare), "the spare to serve all")
    # And it goes on while none is: one is asleep in Python, so the other has to take what comes.
    server.hold(1, "/nap?1.5")
    wait_until(lambda: server.totals["active"] == 2, "one asleep")
    server.hold(5, "/ahold")
    wait_until(lambda: server.totals["in_flight"] >= 6, "all are inside")
    assert len(server.release()) == 7


def test_no_client_waits_for_a_busy_worker_that_was_woken_for_it(pool: MakePool) -> None:
    # One sleeps through the end of the overcommit and still accepts. A client that it is woken for wakes no
    # other worker.
    server = pool("--workers", "2", check_spares_interval=0.05)
    server.wait_workers(2)
    server.hold(1, "/nap?5")
    wait_until(lambda: server.totals["active"] == 1, "one asleep")
    server.hold(1, "/nap?0.3")
    wait_until(lambda: server.status()["manager"]["overcommit"], "no spare")
    wait_until(lambda: not server.status()["manager"]["overcommit"], "one spare again")
    began = time.monotonic()
    for _ in range(20):
        server.get("/pid")
    assert time.monotonic() - began < 2


def test_a_shrunk_pool_does_not_flap(pool: MakePool) -> None:
    server = pool(min_spare_servers=2, max_spare_servers=3, start_servers=3, check_spares_interval=0.05)
    server.wait_spares(3)
    for _ in range(30):
        server.get("/pid")
    wait_until(lambda: server.totals["requests"] >= 30, "all counted")
    assert server.status()["manager"]["forked"] <= 4
    assert server.status()["manager"]["died"] <= 1
