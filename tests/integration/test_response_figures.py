"""What each worker counts: responses by class, errors, and how long requests wait and take."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prefork._engine import time_bounds
from prefork.pool.scoreboard import TIMES, histograms, open_scoreboard
from support import tls
from support.apps import APPS, WEBSOCKET_APP
from support.http2 import http2
from support.processes import children
from support.responses import read_response
from support.server import Serve, Server, run_prefork, status_json
from support.waiting import wait_until
from support.websocket import RawSocket

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


def counts(report: Any) -> dict[str, int]:
    """How many of each time were counted."""
    return {name: report[name]["count"] for name in TIMES}


def test_every_response_has_a_class_and_each_of_the_times(server: Server) -> None:
    ask(server, "/200", "/204", "/302", "/404", "/503", "/fails", "/files/file", "/files/none")
    wait_until(lambda: totals(server)["last_byte"]["count"] == 8, "the last bytes to be counted")
    worker = figures(server, 8)
    assert worker["application"]["sum_s"] == pytest.approx(worker["response_s"], rel=1e-6)
    for report in (worker, totals(server)):
        assert report["classes"] == {"1xx": 0, "2xx": 3, "3xx": 1, "4xx": 2, "5xx": 2}
        assert report["statuses"] == {"200": 2, "204": 1, "302": 1, "404": 2, "500": 1, "503": 1}
        assert counts(report) == dict.fromkeys(TIMES, 8)
    assert server.glue is not None
    found = histograms(open_scoreboard(server.glue).board)
    assert {name: buckets[-1][1] for name, buckets in found.items()} == dict.fromkeys(TIMES, 8)


def test_responses_of_the_server_have_a_class_and_no_time(server: Server) -> None:
    assert b" 505 " in server.raw(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n")
    assert b" 400 " in server.raw(b"GET / HTTP/1.1\r\n\r\n")
    ask(server, "/200")
    worker = figures(server, 1)
    assert worker["classes"] == {"1xx": 0, "2xx": 1, "3xx": 0, "4xx": 1, "5xx": 1}
    wait_until(lambda: totals(server)["last_byte"]["count"] == 1, "the last byte to be counted")
    assert counts(totals(server)) == dict.fromkeys(TIMES, 1)


def test_the_time_is_that_of_the_application(server: Server) -> None:
    ask(server, *["/200"] * 5, *["/200/0.1"] * 3)
    worker = figures(server, 8)
    assert worker["response_s"] >= 0.3
    slow = [(bound, count) for bound, count in times(server) if bound >= 0.08]
    assert sum(count for _, count in slow) >= 3
    assert sum(count for _, count in times(server)) == 8


def test_the_time_of_a_stream_ends_with_its_head(server: Server) -> None:
    """Also if the application blocks its worker between the parts of the body."""
    ask(server, "/200/0.1/parts/1")
    wait_until(lambda: totals(server)["last_byte"]["count"] == 1, "the last byte to be counted")
    worker = figures(server, 1)
    assert 0.1 <= worker["application"]["sum_s"] < 1
    assert worker["last_byte"]["sum_s"] >= 1.1


def test_the_time_of_a_slow_upload_is_the_clients(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(0.15)  # the upload takes so long
            sock.sendall(b"x")
        assert read_response(sock)[0] == 200
    worker = figures(server, 1)
    assert worker["response_s"] < 0.3
    assert worker["wait"]["sum_s"] < 0.3
    assert worker["last_byte"]["sum_s"] < 0.3


def test_what_the_server_refuses_by_itself_is_no_response_of_the_application(server: Server) -> None:
    assert b" 505 " in server.raw(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n")
    assert b" 501 " in server.raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
    ask(server, "/200")
    assert figures(server, 1)["errors"] == 0


def test_streams_of_http2_are_counted(server: Server) -> None:
    with http2(server) as client:
        assert client.get("/200").status == 200
        assert client.get("/500").status == 500
        assert client.response(client.ask("/200", "POST", body=b"body")).status == 200
    worker = figures(server, 3)
    assert worker["errors"] == 1
    wait_until(lambda: totals(server)["last_byte"]["count"] == 3, "the last bytes to be counted")
    worker = figures(server, 3)
    assert counts(worker) == dict.fromkeys(TIMES, 3)
    assert worker["classes"] == {"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 1}
    assert worker["http2"] == {"connections": 1, "streams": 3}
    assert worker["tls"] == {"handshakes": 0, "resumed": 0}


def test_a_stream_that_another_worker_serves_is_counted_once(serve: Serve) -> None:
    server = serve(Path(f"{APPS / 'figures.py'}:wsgi"), "--workers", "2", "--h2c")
    with http2(server) as client:
        slow, quick = client.ask("/200/0.5"), client.ask("/201")
        assert client.response(quick).status == 201
        assert client.response(slow).status == 200
    wait_until(lambda: totals(server)["last_byte"]["count"] == 2, "the last bytes to be counted")
    counted = totals(server)
    assert counts(counted) == dict.fromkeys(TIMES, 2)
    assert (counted["classes"]["2xx"], counted["responses"]) == (2, 2)
    assert counted["http2"] == {"connections": 1, "streams": 2}
    assert sorted(worker["responses"] for worker in server.status()["workers"]) == [1, 1]


def test_what_a_worker_has_counted_stays_in_the_totals_when_it_has_ended(server: Server) -> None:
    ask(server, "/200", "/500")
    figures(server, 2)
    (pid,) = server.workers()
    os.kill(pid, signal.SIGTERM)
    server.wait_without([pid])
    assert (server.status()["totals"]["responses"], totals(server)["errors"]) == (2, 1)
    assert (counts(totals(server)), totals(server)["classes"]["5xx"]) == (dict.fromkeys(TIMES, 2), 1)
    assert totals(server)["application"]["p99_s"] > 0


# --- how long ------------------------------------------------------------------------------------------


BLOCKS = ("events", "WSGI")
"""They serve one request at a time, on the thread of the loop."""


@pytest.fixture(params=BLOCKS)
def blocking(serve: Serve, request: pytest.FixtureRequest) -> Server:
    name, *flags = KINDS[request.param]
    return serve(Path(f"{APPS / 'figures.py'}:{name}"), "--workers", "1", *flags)


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "new"])
def test_a_request_waits_for_the_one_before_it(blocking: Server, is_open: bool) -> None:
    """Whether its connection was known before, or lay in the queue of the listener."""
    with ExitStack() as stack:
        first = stack.enter_context(blocking.connect())
        second = stack.enter_context(blocking.connect()) if is_open else None
        if second is not None:
            second.sendall(b"GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")
            read_response(second)
        first.sendall(b"GET /200/0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: totals(blocking)["active"] == 1, "the application to be busy")
        second = second or stack.enter_context(blocking.connect())
        second.sendall(b"GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(first)[0] == read_response(second)[0] == 200
    worker = figures(blocking, 3 if is_open else 2)
    assert 0.1 < worker["wait"]["p99_s"] < 0.6
    assert worker["wait"]["sum_s"] < 0.6, "only one has waited"
    assert 0.5 <= worker["application"]["sum_s"] < 0.9, "waiting is not the application's time"


def test_the_last_byte_waits_for_a_client_that_reads_slowly(server: Server, tmp_path: Path) -> None:
    size = 8 << 20
    (tmp_path / "large").write_bytes(b"x" * size)
    with server.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        sock.sendall(b"GET /files/large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: totals(server)["responses"] == 1, "the head")
        assert totals(server)["last_byte"]["count"] == 0
        (worker,) = server.status()["workers"]
        time.sleep(0.3)  # the client reads so late
        assert len(read_response(sock)[2]) == size
    wait_until(lambda: totals(server)["last_byte"]["count"] == 1, "the last byte to be counted")
    worker = figures(server, 1)
    assert worker["last_byte"]["p50_s"] > 0.25
    assert worker["application"]["p50_s"] < 0.25


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_handshake_of_a_websocket_is_a_response(serve: Serve, loop: str) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1", "--h2c", "--loop", loop)
    with RawSocket(server) as sock:
        assert sock.status == 101
        wait_until(lambda: totals(server)["last_byte"]["count"] == 1, "the response to be sent")
        (worker,) = server.status()["workers"]
        assert worker["classes"] == {"1xx": 1, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}
        assert counts(worker) == dict.fromkeys(TIMES, 1)
        assert worker["request"]["phase"] == "open"
        assert worker["responses"] == 1
    with http2(server) as client:
        stream = client.ask(
            fields=[("sec-websocket-version", "13")],
            ended=False,
            pseudo=[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", "/echo"),
                (":authority", "test"),
            ],
        )
        while not client.streams[stream].status:
            client.read_frame()
        assert client.streams[stream].status == 200
        wait_until(lambda: totals(server)["last_byte"]["count"] == 2, "the response to be sent")
        assert totals(server)["classes"]["2xx"] == 1, "RFC 8441: there is no 101"
    wait_until(lambda: totals(server)["in_flight"] == 0, "the end of both")
    assert counts(totals(server)) == dict.fromkeys(TIMES, 2)


def test_handshakes_of_tls_are_counted_and_those_that_resume(serve: Serve) -> None:
    server = serve(Path(f"{APPS / 'figures.py'}:wsgi"), "--workers", "1", *tls.OPTIONS)
    context = tls.context(tls.V12)
    session = None
    for _ in range(3):
        with context.wrap_socket(
            socket.create_connection((server.host, server.port)), server_hostname="localhost", session=session
        ) as sock:
            sock.sendall(b"GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(sock)[0] == 200
            session = sock.session
    assert figures(server, 3)["tls"] == {"handshakes": 3, "resumed": 2}


# --- what is shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shows", [True, False])
def test_paths_are_hidden_if_that_is_wished(serve: Serve, tmp_path: Path, shows: bool) -> None:
    options = () if shows else ("--status-paths=off",)
    app, parameters = Path(f"{APPS / 'holds.py'}:wsgi"), {"release": str(tmp_path / "release")}
    server = serve(app, "--workers", "1", *options, parameters=parameters)
    with server.connect() as sock:
        sock.sendall(b"GET /hold/1?token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: totals(server)["in_flight"] == 1, "the request")
        (worker,) = server.status()["workers"]
        shown = run_prefork("status", "--glue", str(server.glue)).stdout
        (tmp_path / "release").touch()
        assert read_response(sock)[0] == 200
    request = worker["request"]
    assert request["path"] == ("/hold/1" if shows else None)
    assert (request["client"], request["phase"]) == ("127.0.0.1", "handling")
    assert "secret" not in shown
    assert ("/hold/1" in shown) == shows


def test_what_is_counted_is_shown_while_a_request_is_slow(serve: Serve) -> None:
    server = serve(Path(f"{APPS / 'figures.py'}:wsgi"), "--workers", "2")
    with server.connect() as sock:
        quick, slow = (f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("/200", "/200/6"))
        sock.sendall(quick * 3 + slow)

        def found() -> tuple[int, int, int]:
            report = totals(server)
            return report["requests"], report["responses"], report["in_flight"]

        wait_until(lambda: found() == (4, 3, 1), "three responses, and the slow request")


def test_a_worker_that_writes_garbage_is_shown_as_such_and_spoils_no_total(serve: Serve) -> None:
    server = serve(Path(f"{APPS / 'scribbles.py'}:wsgi"), "--workers", "1")
    for _ in range(3):
        server.get("/")
    wait_until(lambda: totals(server)["requests"] == 3, "the requests to be counted")
    server.get("/scribble")
    wait_until(lambda: server.status()["workers"][0]["is_garbled"], "the garbage to be seen")
    assert server.get("/") == b"done"
    assert totals(server)["requests"] == 0
    assert counts(totals(server)) == dict.fromkeys(TIMES, 0)
    assert server.status()["workers"][0]["rss"] is None, "nothing is asked of a pid that it wrote"
    shown = run_prefork("status", "--glue", str(server.glue))
    assert shown.returncode == 0
    for child in children(server.pid):
        os.kill(child, signal.SIGKILL)  # the worker, and what forks the next one
    wait_until(lambda: [w for w in server.status()["workers"] if not w["is_garbled"]], "another worker")
    assert server.get("/") == b"done"
    wait_until(lambda: totals(server)["requests"] == 1, "the request to be counted")
    assert counts(totals(server))["wait"] == 1


def test_cpu_time_and_memory_of_a_worker_are_those_of_its_process(server: Server) -> None:
    (worker,) = server.status()["workers"]
    assert worker["rss"] > 1 << 20
    assert worker["cpu_s"] >= 0
    assert worker["pss"] is None, "it is dear"
    (shown,) = status_json(str(server.glue))["workers"]
    assert 0 < shown["pss"] < shown["rss"]
