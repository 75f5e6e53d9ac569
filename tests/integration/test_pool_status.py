"""The scoreboard of a running pool, read from outside."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import tls
from support.admin import LOCAL, admin_url, get
from support.apps import APPS
from support.control import command
from support.events import EventClient
from support.http2 import http2
from support.pool import MakePool
from support.responses import read_all
from support.screen import Screen
from support.server import Serve, Server, run_prefork, status_json
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 3,
    "max_clients": 4,
    "check_spares_interval": 60,
}


def test_status_json_tells_manager_totals_and_a_list_of_workers(pool: MakePool) -> None:
    server = pool(**TWO)
    workers = server.wait_workers(2)
    assert server.glue
    for _ in range(3):
        server.get("/one")
    wait_until(lambda: server.totals["requests"] == 3, "three counted")
    reported = status_json(server.glue)
    assert set(reported) == {"manager", "totals", "workers"}
    manager = reported["manager"]
    assert manager["pid"] == server.pid
    assert (manager["min_spare"], manager["max_spare"], manager["max_clients"]) == (2, 3, 4)
    assert (manager["generation"], manager["died"], manager["boot_failed"]) == (1, 0, 0)
    assert abs(manager["started_unix_s"] - time.time()) < 60
    assert 0 <= manager["uptime_s"] < 60
    assert reported["totals"]["requests"] == 3
    assert reported["totals"]["bytes_out"] > 3 * len("HTTP/1.1 200 OK")
    assert {worker["pid"] for worker in reported["workers"]} >= set(workers)
    for worker in reported["workers"]:
        assert worker["state"] == "spare"
        assert worker["request"] is None
        assert 0 <= worker["age_s"] < 60


def test_status_tells_the_request_that_a_worker_is_in(pool: MakePool) -> None:
    server = pool(**TWO)
    server.hold(1, "/hold?by=me")
    wait_until(lambda: server.totals["active"] == 1, "one held")
    (worker,) = (worker for worker in server.status()["workers"] if worker["state"] == "active")
    assert worker["in_flight"] == 1
    assert worker["request"]["method"] == "GET"
    assert worker["request"]["path"] == "/hold", "a query may hold secrets"
    assert (worker["request"]["client"], worker["request"]["phase"]) == ("127.0.0.1", "handling")
    assert 0 <= worker["request"]["age_s"] < 10


SEVERAL = {
    "asyncio": ("asgi", "--loop", "asyncio"),
    "uvloop": ("asgi", "--loop", "uvloop"),
    "threads": ("wsgi", "--threads", "4"),
}


@pytest.fixture(params=SEVERAL)
def holding(serve: Serve, tmp_path: Path, request: pytest.FixtureRequest) -> Server:
    """One worker with the application `holds.py`, that serves several requests at once."""
    name, *options = SEVERAL[request.param]
    app, parameters = Path(f"{APPS / 'holds.py'}:{name}"), {"release": str(tmp_path / "release")}
    return serve(app, "--workers", "1", "--h2c", *options, parameters=parameters)


def shown(server: Server, in_flight: int) -> tuple[str, float]:
    """Path and age of the request that the only worker shows, when it has so many in flight."""

    def found() -> tuple[str, float] | None:
        (worker,) = server.status()["workers"]
        request = worker["request"] or {"path": "", "age_s": 0.0}
        return (request["path"], request["age_s"]) if worker["in_flight"] == in_flight else None

    return wait_until(found, f"{in_flight} in flight") or ("", 0.0)


def test_a_worker_that_its_application_blocks_drains_once_it_is_told_to_end(pool: MakePool) -> None:
    """It cannot write that itself: its manager says so, everywhere that the pool is shown."""
    server = pool("--admin", LOCAL, **TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_active(1)
    (pid,) = server.workers("active")
    assert server.glue
    assert command(server, "recycle", str(pid), "--timeout", "0").returncode == 1

    def drains() -> dict[str, int]:
        report = status_json(str(server.glue))
        states = {worker["pid"]: worker["state"] for worker in report["workers"]}
        totals: dict[str, int] = report["totals"]
        return totals if states[pid] == "draining" else {}

    totals = wait_until(drains, "it to drain")
    assert (totals["active"], totals["draining"]) == (0, 1)
    assert server.workers("active") == [pid], "what it has written"
    url = admin_url(server)
    with EventClient(url) as client:
        assert client.frames(1)[0]["slots"].count("~") == 1
    assert "prefork_busy_ratio 0" in get(url, "/metrics")
    server.release()
    server.wait_without([pid])


def test_status_tells_no_request_that_is_over(holding: Server) -> None:
    with holding.connect() as first, holding.connect() as second:
        first.sendall(b"GET /hold/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert shown(holding, 1)[0] == "/hold/1"
        since = time.monotonic()
        for _ in range(20):
            assert holding.get("/quick") == b"done"
        least_s = time.monotonic() - since
        path, age_s = shown(holding, 1)
        assert (path, age_s >= round(least_s, 3)) == ("/hold/1", True)
        second.sendall(b"GET /hold/2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert shown(holding, 2)[0] == "/hold/2"
        holding.get("/quick")
        assert shown(holding, 2)[0] == "/hold/2"
        first.close()
        second.close()


def test_status_tells_no_stream_that_is_over(holding: Server) -> None:
    with http2(holding) as client:
        held = client.ask("/hold/1")
        assert shown(holding, 1)[0] == "/hold/1"
        for _ in range(20):
            assert client.get("/quick").body == b"done"
        assert shown(holding, 1)[0] == "/hold/1"
        client.ask("/hold/2")
        assert shown(holding, 2)[0] == "/hold/2"
        client.reset(held)


def test_status_tells_no_event_that_is_over(pool: MakePool) -> None:
    server = pool("--workers", "1", concurrency=8)
    server.wait_workers(1)
    server.hold(1, "/ahold")
    assert shown(server, 1)[0] == "/ahold"
    for _ in range(20):
        server.get("/one")
    assert shown(server, 1)[0] == "/ahold"
    server.release()
    assert shown(server, 0)[0] == ""


def test_totals_keep_what_workers_did_that_are_gone(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=1, max_clients=1, max_requests_per_child=2)
    sent = 0
    while server.status()["manager"]["died"] < 3:
        server.get("/one")
        sent += 1
    wait_until(lambda: server.totals["requests"] == sent, "all of them counted")


def test_status_for_people_is_a_table(pool: MakePool) -> None:
    server = pool("--workers", "2")
    first, second = server.wait_workers(2)
    done = run_prefork("status", "--glue", str(server.glue))
    assert done.returncode == 0
    assert re.search(rf"\b{first}\b", done.stdout)
    assert re.search(rf"\b{second}\b", done.stdout)
    assert "spare" in done.stdout


def test_status_needs_no_manager_that_responds(pool: MakePool) -> None:
    server = pool(**TWO)
    workers = server.wait_workers(2)
    server.signal(signal.SIGSTOP)
    try:
        reported = server.status()
        told = status_json(str(server.glue))
    finally:
        server.signal(signal.SIGCONT)
    assert told["manager"]["listeners"] is None  # only the manager knows them
    assert told["manager"]["certificates"] is None
    assert reported["manager"]["pid"] == server.pid
    assert {worker["pid"] for worker in reported["workers"]} == set(workers)


def test_status_says_where_the_pool_listens(tmp_path: Path, pool: MakePool) -> None:
    path = tmp_path / "sock"
    listening = ("--bind", "127.0.0.1:0,tls", "--bind", f"unix:{path},proxy", "--h2c")
    server = pool("--workers", "1", *listening, "--redirect-http", "127.0.0.1:0", *tls.OPTIONS)
    encrypted, unix, redirecting = status_json(str(server.glue))["manager"]["listeners"]
    assert encrypted == {
        "url": f"https://127.0.0.1:{server.port}",
        "tls": True,
        "protocols": ["h2", "http/1.1"],
        "proxy_protocol": False,
        "redirects": False,
        "waiting": 0,
    }
    assert unix == {
        "url": f"unix:{path}",
        "tls": False,
        "protocols": ["http/1.1", "h2c"],
        "proxy_protocol": True,
        "redirects": False,
        "waiting": 0,
    }
    assert redirecting["redirects"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", redirecting["url"])
    done = run_prefork("status", "--glue", str(server.glue))
    assert f"listening on https://127.0.0.1:{server.port} (TLS, h2)\n" in done.stdout
    assert f"listening on unix:{path} (h2c, PROXY protocol)\n" in done.stdout


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:pool.sock"])
def test_status_says_how_many_wait_for_a_worker(pool: MakePool, bind: str) -> None:
    server = pool("--workers", "2", "--bind", bind)
    server.wait_workers(2)
    server.hold(2)
    wait_until(lambda: len(server.workers("active")) == 2, "both to be busy")
    waiting = [server.connect() for _ in range(3)]
    for sock in waiting:
        sock.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def total() -> int:
        found: int = status_json(str(server.glue))["totals"]["waiting"]
        return found

    wait_until(lambda: total() == 3, "all of them")
    assert "\n3 waiting for a worker\n" in run_prefork("status", "--glue", str(server.glue)).stdout
    server.release()
    assert [read_all(sock)[:12] for sock in waiting] == [b"HTTP/1.1 200"] * 3
    wait_until(lambda: total() == 0, "none")
    for sock in waiting:
        sock.close()


def test_status_of_a_pool_that_does_not_listen_says_so(serve: Serve) -> None:
    server = serve(APPS / "places.py", "--workers", "1")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: "unlisten True" in server.out, "the sockets to be closed")
    manager = status_json(str(server.glue))["manager"]
    assert (manager["listeners"], manager["certificates"]) == ([], [])
    assert "\nnot listening\n" in run_prefork("status", "--glue", str(server.glue)).stdout


def test_status_of_an_unknown_glue_is_one_line_and_status_2() -> None:
    done = run_prefork("status", "--glue", "prefork-unknown")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "prefork-unknown" in done.stderr


def test_glue_in_use_names_the_pid_that_holds_it(pool: MakePool) -> None:
    first = pool("--workers", "1", "--glue", "prefork-test-taken")
    done = run_prefork("serve", first.target, "--bind", "127.0.0.1:0",
                       "--glue", "prefork-test-taken", env=first.env)  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"prefork: .*'prefork-test-taken' is held by pid {first.pid}\b.*\n", done.stderr)
    assert first.get("/one") == b"one"


def test_a_taken_port_is_one_line_and_status_2_and_holds_no_glue(pool: MakePool) -> None:
    first = pool("--workers", "1")
    done = run_prefork("serve", first.target, "--bind",
                       f"127.0.0.1:{first.port}", env=first.env)  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"prefork: cannot listen on .*Address already in use.*\n", done.stderr)


# --- again and again ----------------------------------------------------------------------------------------


@contextmanager
def watching(server: Server, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`prefork status --watch` into a pipe."""
    command = [
        sys.executable,
        "-m",
        "prefork",
        "status",
        "--glue",
        str(server.glue),
        "--watch",
        "0.1",
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_watched_json_is_a_line_each_until_an_interrupt(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with watching(server, "--json") as process:
        assert process.stdout
        reports = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""
    uptimes = [report["manager"]["uptime_s"] for report in reports]
    assert uptimes == sorted(set(uptimes))
    assert reports[0]["manager"]["decisions"][0]["why"] == "the pool begins: start_servers 2"


def test_a_watched_report_ends_with_its_reader(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with watching(server) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(f"pool {server.glue}")
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_watched_report_ends_with_the_pool(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with watching(server, "--json") as process:
        assert process.stdout
        process.stdout.readline()
        server.stop()
        process.stdout.read()
        assert process.wait(10) == 2
        assert process.stderr
        assert "expected a running server with glue" in process.stderr.read()


def test_a_watched_report_is_redrawn_in_a_terminal(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    screen = Screen("-m", "prefork", "status", "--glue", str(server.glue), "--watch", "0.1")
    try:
        screen.wait("2 spare, 0 active")
        screen.wait("last decisions:")
        server.hold(1)
        screen.wait("GET /hold")
        assert screen.written.count("\x1b[H") > 1
        assert all(len(line) <= 80 for line in screen.lines)
        server.release()
        screen.press("\x03")
        assert screen.process.wait(10) == 0
    finally:
        screen.close()


def test_watch_without_a_number_is_each_two_seconds(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    command = [sys.executable, "-m", "prefork", "status", "--glue", str(server.glue), "--json", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["totals"]["workers"] == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
