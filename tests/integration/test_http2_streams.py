"""HTTP/2: how many streams a client may have open, by what the pool can serve."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from support.apps import APPS
from support.http2 import CANCEL, MAX_CONCURRENT_STREAMS, REFUSED_STREAM, Http2Client, http2
from support.server import Serve, Server
from support.waiting import wait_until

WSGI = APPS / "http2_wsgi.py"
ASGI = APPS / "http2_asgi.py"
EVENTS = APPS / "server_options.py"

SMALL = ("--start", "1", "--min-spare", "1", "--max-spare", "2")
"""A pool that may grow far, and does not."""


def announced(server: Server) -> int:
    with http2(server) as client:
        client.ping()
        return client.settings[MAX_CONCURRENT_STREAMS]


def in_flight(server: Server) -> list[int]:
    """Of each worker."""
    return sorted(worker["in_flight"] for worker in server.status()["workers"])


def hold(client: Http2Client, count: int) -> list[int]:
    """So many requests whose responses do not come."""
    return [client.ask("/hold") for _ in range(count)]


@pytest.mark.parametrize(
    ("app", "options", "limit"),
    [
        pytest.param(WSGI, ("--workers", "2"), 128, id="few workers"),
        pytest.param(WSGI, (*SMALL, "--max-clients", "200"), 200, id="workers that may be started"),
        pytest.param(WSGI, (*SMALL, "--max-clients", "50", "--threads", "4"), 200, id="threads"),
        pytest.param(
            WSGI,
            (*SMALL, "--max-clients", "50", "--threads", "4", "--concurrency", "2"),
            200,
            id="threads beyond the concurrency",
        ),
        pytest.param(WSGI, (*SMALL, "--max-clients", "9000"), 1024, id="no more than is wise"),
        pytest.param(ASGI, ("--workers", "3"), 192, id="asgi"),
        pytest.param(ASGI, ("--workers", "1", "--concurrency", "300"), 300, id="concurrency"),
        pytest.param(ASGI, ("--workers", "1", "--max-streams", "7"), 7, id="fewer by the option"),
        pytest.param(ASGI, ("--workers", "1", "--max-streams", "2000"), 2000, id="more by the option"),
        pytest.param(ASGI, ("--start", "0", "--max-clients", "300"), 128, id="no pool"),
    ],
)
def test_the_limit_follows_the_pool(serve: Serve, app: Path, options: tuple[str, ...], limit: int) -> None:
    assert announced(serve(app, "--h2c", *options)) == limit


@pytest.mark.parametrize(("given", "limit"), [({}, 128), ({"max_streams": 5}, 5)])
def test_a_program_sets_it_as_well(serve: Serve, given: dict[str, int], limit: int) -> None:
    server = serve(EVENTS, bind=False, parameters={"address": "127.0.0.1", "port": 0, "h2c": True, **given})
    assert announced(server) == limit


def test_one_connection_keeps_the_whole_pool_busy(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "3", "--h2c")
    wait_until(lambda: server.status()["totals"]["spare"] == 3, "the workers")
    with http2(server) as client, http2(server) as other:
        held = hold(client, 192)
        wait_until(lambda: sum(in_flight(server)) == 192, "all of them to be begun")
        assert min(in_flight(server)) > 32, "each worker has its part"
        one_more = client.ask("/hold")
        assert client.response(one_more).reset == REFUSED_STREAM
        assert not any(client.streams[stream].reset for stream in held)
        client.reset(held[0])
        again = client.ask("/pid")
        assert client.response(again).status == 200
        for stream in held[1:]:  # as a proxy does whose own clients leave
            client.reset(stream)
        wait_until(lambda: in_flight(server) == [0, 0, 0], "the application to hear of it")
        assert client.get("/pid").status == 200
        assert client.goaway is None
        assert other.get("/pid").status == 200


def test_the_limit_of_the_option_is_the_one_that_is_heeded(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "1", "--h2c", "--max-streams", "3")
    with http2(server) as client, http2(server) as other:
        held = hold(client, 4)
        client.ping()
        assert [client.streams[stream].reset for stream in held] == [None, None, None, REFUSED_STREAM]
        assert other.get("/pid").status == 200, "each connection has its own streams"
        client.reset(held[0])
        assert client.get("/release").status == 200
        assert {client.response(stream).body for stream in held[1:3]} == {b"released"}


def test_a_thousand_streams_that_wait_cost_no_other_client(serve: Serve) -> None:
    """Most of them wait for the worker. Those of the client may all be cancelled at once."""
    server = serve(ASGI, "--workers", "1", "--h2c", "--max-streams", "1024")
    with http2(server) as client, http2(server) as other:
        held = hold(client, 1024)
        refused = client.ask("/hold")
        assert client.response(refused).reset == REFUSED_STREAM
        assert other.get("/pid").status == 200
        for stream in held:
            client.reset(stream, CANCEL)
        wait_until(lambda: in_flight(server) == [0], "the application to hear of it")
        assert client.get("/pid").status == 200
        assert client.goaway is None
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(http2(server)) for _ in range(5)]
            assert [one.get("/pid").status for one in clients] == [200] * 5
