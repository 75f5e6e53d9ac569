"""How many responses each worker has made, how many of them are errors, and how long they took."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prefork._engine import time_bounds
from prefork.pool.scoreboard import open_scoreboard
from support.apps import APPS
from support.http2 import http2
from support.responses import read_response
from support.server import Serve, Server
from support.waiting import wait_until

KINDS = {
    "events": ("server",),
    "WSGI": ("wsgi",),
    "WSGI with threads": ("wsgi", "--threads", "4"),
    "asyncio": ("asgi", "--loop", "asyncio", "--lifespan", "off"),
    "uvloop": ("asgi", "--loop", "uvloop", "--lifespan", "off"),
}


@pytest.fixture(params=KINDS)
def server(serve: Serve, request: pytest.FixtureRequest, tmp_path: Path) -> Server:
    """One worker with an application that responds as it is asked to."""
    (tmp_path / "file").write_text("content")
    name, *flags = KINDS[request.param]
    static = ("--static", f"/files={tmp_path}")
    return serve(Path(f"{APPS / 'figures.py'}:{name}"), "--workers", "1", "--h2c", *static, *flags)


def totals(server: Server) -> Any:
    return server.status()["totals"]


def figures(server: Server, responses: int) -> Any:
    """What the worker has on the scoreboard, when it has so many responses."""
    wait_until(lambda: totals(server)["responses"] >= responses, "the responses to be counted")
    (worker,) = server.status()["workers"]
    assert worker["responses"] == responses
    return worker


def times(server: Server) -> list[tuple[float, int]]:
    """How many responses took at least how long, in seconds."""
    assert server.glue is not None
    board = open_scoreboard(server.glue).board
    (counted,) = (found for index in range(board.capacity) if (found := board.times(index)))
    return [(bound, count) for bound, count in zip(time_bounds(), counted, strict=True) if count]


def ask(server: Server, *paths: str) -> Sequence[int]:
    """The statuses of the responses."""
    return [server.request(path)[0] for path in paths]


def test_responses_and_errors_are_counted(server: Server) -> None:
    statuses = ask(server, "/200", "/404", "/500", "/503", "/fails", "/files/file")
    assert statuses == [200, 404, 500, 503, 500, 200]
    worker = figures(server, 6)
    assert worker["errors"] == 3
    assert sum(count for _, count in times(server)) == 6


def test_the_time_is_that_of_the_application(server: Server) -> None:
    ask(server, *["/200"] * 5, *["/200/0.1"] * 3)
    worker = figures(server, 8)
    assert worker["response_s"] >= 0.3
    slow = [(bound, count) for bound, count in times(server) if bound >= 0.08]
    assert sum(count for _, count in slow) >= 3
    assert sum(count for _, count in times(server)) == 8


def test_the_time_of_a_slow_upload_is_the_clients(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(0.15)  # the upload takes so long
            sock.sendall(b"x")
        assert read_response(sock)[0] == 200
    assert figures(server, 1)["response_s"] < 0.3


def test_what_the_server_refuses_by_itself_is_no_response_of_the_application(server: Server) -> None:
    assert b" 505 " in server.raw(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n")
    assert b" 501 " in server.raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
    ask(server, "/200")
    assert figures(server, 1)["errors"] == 0


def test_streams_of_http2_are_counted(server: Server) -> None:
    with http2(server) as client:
        assert client.get("/200").status == 200
        assert client.get("/500").status == 500
    assert figures(server, 2)["errors"] == 1


def test_what_a_worker_has_counted_stays_in_the_totals_when_it_has_ended(server: Server) -> None:
    ask(server, "/200", "/500")
    figures(server, 2)
    (pid,) = server.workers()
    os.kill(pid, signal.SIGTERM)
    server.wait_without([pid])
    assert (server.status()["totals"]["responses"], totals(server)["errors"]) == (2, 1)
