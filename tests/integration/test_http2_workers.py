"""Workers that end, and workers that are killed, under a load of HTTP/2."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections import Counter

import httpx
import pytest

from support import tls
from support.http2 import Http2Client
from support.http2_load import Http2Load
from support.pool import MakePool
from support.processes import alive
from support.waiting import DEADLINE_S, wait_until

FIVE = {"start_servers": 5, "min_spare_servers": 5, "max_spare_servers": 5, "max_clients": 20}
EVERY_WAY = pytest.mark.parametrize("way", [("--h2c",), tls.OPTIONS], ids=["h2c", "tls"])


@EVERY_WAY
def test_hang_up_under_load_loses_no_request(pool: MakePool, way: tuple[str, ...]) -> None:
    server = pool(*way, **FIVE)
    old = set(server.wait_workers(5))
    with Http2Load(server, 8, "/one") as load:
        load.more(500)
        server.signal(signal.SIGHUP)
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        load.more(500)
    assert load.lost == []
    assert load.statuses == {200}
    assert load.goaways >= 8
    assert "ERROR" not in server.log


@EVERY_WAY
def test_hang_up_lets_slow_streams_end(pool: MakePool, way: tuple[str, ...]) -> None:
    server = pool(*way, **FIVE)
    old = set(server.wait_workers(5))
    with Http2Load(server, 4, "/do?__import__('time').sleep(0.05)", 3) as load:
        load.more(10)
        server.signal(signal.SIGHUP)
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        load.more(10)
    assert load.lost == []
    assert load.statuses == {200}


class LateSocket(tls.TlsSocket):
    """Its handshake ends with what it sends first, in one packet."""

    _is_answered = False

    def _feed(self) -> None:
        super()._feed()
        self._is_answered = True

    def _flush(self) -> None:
        if not self._is_answered:
            super()._flush()


@pytest.mark.parametrize("streams", [1, 3], ids=["one", "lent"])
def test_a_connection_that_begins_while_its_worker_drains_ends_soon(pool: MakePool, streams: int) -> None:
    """One of HTTP/1 would move to another worker."""
    server = pool(*tls.OPTIONS, start_servers=1, min_spare_servers=1, max_spare_servers=1, max_clients=4)
    (old,) = server.wait_workers(1)
    plain = socket.create_connection((server.host, server.port), timeout=DEADLINE_S)
    sock = LateSocket(plain, tls.context(tls.V13, "h2"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.worker_of(old)["state"] == "draining", "its end")
    with Http2Client(sock) as client:
        for _ in range(10):
            asked = [client.ask("/do?__import__('time').sleep(0.02)") for _ in range(streams)]
            assert [client.response(stream).status for stream in asked] == [200] * streams
            with contextlib.suppress(EOFError, OSError):
                client.ping()  # a GOAWAY follows the response: some clients take one before for its end
            if client.goaway is not None:
                break
        assert client.goaway is not None
    wait_until(lambda: not alive(old), "the old one to go")


@EVERY_WAY
def test_recycling_under_load_loses_no_request(pool: MakePool, way: tuple[str, ...]) -> None:
    server = pool(*way, **FIVE, max_requests_per_child=50)
    server.wait_workers(5)
    with Http2Load(server, 4, "/one") as load:
        load.more(2000)
        wait_until(lambda: server.status()["manager"]["forked"] > 10, "so many new workers")
    assert load.lost == []
    assert load.statuses == {200}


@EVERY_WAY
def test_a_stop_under_load_loses_no_request(pool: MakePool, way: tuple[str, ...]) -> None:
    server = pool(*way, **FIVE)
    server.wait_workers(5)
    with Http2Load(server, 8, "/one") as load:
        load.more(500)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert load.lost == []


@EVERY_WAY
def test_kill_9_of_a_worker_loses_its_own_connections_and_no_other(
    pool: MakePool, way: tuple[str, ...]
) -> None:
    server = pool(*way, **FIVE)
    server.wait_workers(5)
    with Http2Load(server, 10, "/pid") as load:
        wait_until(
            lambda: all(client.pids.total() > 50 for client in load.clients), "responses on each connection"
        )
        homes = [client.pids.most_common(1)[0][0] for client in load.clients]
        victim, _ = Counter(homes).most_common(1)[0]
        os.kill(int(victim), signal.SIGKILL)
        wait_until(lambda: not alive(int(victim)), "its end")
        load.more(1000)
    hit = [client for client, home in zip(load.clients, homes, strict=True) if home == victim]
    others = [client for client, home in zip(load.clients, homes, strict=True) if home != victim]
    # One worker may have accepted all of them.
    assert [loss for client in others for loss in client.lost] == []
    assert all(len(client.lost) <= client.streams for client in hit)
    # It may have served a stream of another one's connection.
    assert load.statuses <= {200, 502}


def test_httpx_loses_no_request_by_a_hang_up(pool: MakePool) -> None:
    """It opens another connection when one says GOAWAY."""
    server = pool(*tls.OPTIONS, **FIVE)
    old = set(server.wait_workers(5))
    statuses: Counter[int] = Counter()
    failed: list[Exception] = []
    stopped = threading.Event()

    def ask(client: httpx.Client) -> None:
        while not stopped.is_set():
            try:
                statuses[client.get("/one").status_code] += 1
            except httpx.HTTPError as error:
                failed.append(error)

    base = f"https://localhost:{server.port}"
    clients = [
        httpx.Client(base_url=base, http2=True, verify=tls.context(), trust_env=False) for _ in range(4)
    ]
    threads = [threading.Thread(target=ask, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses[200] >= 100, "responses")
    server.signal(signal.SIGHUP)
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    enough = statuses[200] + 100
    wait_until(lambda: statuses[200] >= enough, "more responses")
    stopped.set()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert failed == []
    assert set(statuses) == {200}
