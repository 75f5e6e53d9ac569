"""A worker that has served for a while becomes the mold: those after it share what it has made."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefork.pool import memory
from support import tls
from support.apps import APPS
from support.load import Load
from support.processes import alive, children
from support.server import Serve, Server, run_prefork, running, status_json, write_app
from support.waiting import wait_until

APP = APPS / "refork.py"
WSGI, ASGI = Path(f"{APP}:wsgi"), Path(f"{APP}:asgi")
FLAGS = ("--workers", "3", "--refork-after", "100", "--concurrency", "1")  # so each of them gets requests
LOOPS: list[tuple[Any, ...]] = [(WSGI,), (WSGI, "--threads", "4"), (ASGI,), (ASGI, "--loop", "uvloop")]


def ask(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get())
    return found


def ask_until(server: Server, condition: Callable[[], object], what: str) -> list[dict[str, Any]]:
    """Sends requests, several at once, until the condition is true. Returns what came."""
    found: list[dict[str, Any]] = []

    def asked() -> object:
        found.extend(clients.map(ask, [server] * 24))
        return condition()

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        wait_until(asked, what, deadline_s=60)
    return found


def refork(server: Server, generation: int = 2) -> int:
    """Sends requests until the workers are of a new mold. Returns the pid of that."""
    ask_until(server, lambda: f"every worker is of generation {generation}" in server.log, "the refork")
    line = [line for line in server.err if "is no worker any more" in line][-1]
    found = re.search(r"process (\d+) is no worker", line)
    assert found
    wait_until(lambda: not server.workers("draining"), "the end of the others")
    return int(found[1])


def every_worker(server: Server) -> list[dict[str, Any]]:
    """What each worker responds."""
    found: dict[int, dict[str, Any]] = {}

    def all_have() -> bool:
        found.update((one["pid"], one) for one in ask_until(server, lambda: True, "responses"))
        return set(server.workers("spare", "active")) <= found.keys()

    wait_until(all_have, "a response of each worker", deadline_s=60)
    return [found[pid] for pid in server.workers("spare", "active")]


@pytest.mark.parametrize("app", LOOPS, ids=["wsgi", "threads", "asyncio", "uvloop"])
def test_what_a_worker_has_made_is_shared_by_those_after_it(serve: Serve, app: tuple[Any, ...]) -> None:
    server = serve(*app, *FLAGS)
    first = server.workers()
    mold = refork(server)
    assert mold in first
    assert {one["maker"] for one in every_worker(server)} == {mold}
    server.wait_without(first)
    assert [pid for pid in children(server.pid) if pid not in server.workers()] == [mold]
    assert server.stop() == 0
    assert not alive(mold)
    assert "ERROR" not in server.log
    assert "WARNING" not in server.log.replace("WARNING prefork.pool: refork: every worker", "")


def test_a_mold_of_a_mold(serve: Serve) -> None:
    server = serve(WSGI, *FLAGS)
    first = refork(server)
    second = refork(server, generation=3)
    assert first != second
    assert not alive(first)
    assert {one["maker"] for one in every_worker(server)} == {first}
    assert server.stop() == 0


@pytest.mark.parametrize("app", LOOPS[2:], ids=["asyncio", "uvloop"])
def test_each_worker_has_a_lifespan_of_its_own_and_no_lock_of_another_loop(
    serve: Serve, app: tuple[Any, ...]
) -> None:
    server = serve(*app, *FLAGS)
    mold = refork(server)
    for one in every_worker(server):
        before = [f"startup of {mold}", f"shutdown of {mold}"]
        assert one["told"] == [*before, f"startup of {one['pid']}"]
        assert one["began"] == f"2:{one['pid']}"
    assert "failed on" not in server.log


def test_the_hooks_of_a_worker_are_called_and_it_hears_no_signal(serve: Serve) -> None:
    server = serve(WSGI, *FLAGS, "--worker-exit", "refork:ends", cwd=APPS)
    first = server.workers()
    mold = refork(server)
    assert all(one["told"] == [f"{mold} exits"] for one in every_worker(server))
    server.wait_without(first)
    workers = server.workers()
    assert server.stop() == 0
    last = [line for line in server.err if line.endswith((" exits", " is over"))]
    assert len(set(last)) == len(last), "each of them once"
    for pid in {*first, *workers} - {mold}:
        assert last.index(f"{pid} exits") < last.index(f"{pid} is over")
    assert f"{mold} exits" in last
    assert f"{mold} is over" not in last


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        ("thread", r"thread 'of-the-shop' of threading"),
        ("socket", r"one of a pair of sockets of refork\.opened"),
        ("process", r"child process \d+"),
    ],
)
def test_what_cannot_be_forked_prevents_it_and_is_named(serve: Serve, begins: str, told: str) -> None:
    server = serve(WSGI, *FLAGS, cwd=APPS, parameters={"begins": begins})
    ask_until(server, lambda: "cannot become a mold" in server.log, "the refusal")
    line = server.wait_log("cannot become a mold")
    assert re.search(rf"worker \d+ cannot become a mold: it has .*{told}.*; generation 1 serves on", line)
    server.wait_log("the next attempt is in 10 s at the earliest")
    wait_until(lambda: len(server.workers("spare", "active")) == 3, "as many as before")
    ask_until(server, lambda: True, "responses")
    assert server.log.count("cannot become a mold") == 1
    assert server.stop() == 0


def test_what_mold_ready_closes_prevents_nothing(serve: Serve) -> None:
    flags = ("--mold-ready", "refork:close")
    server = serve(WSGI, *FLAGS, *flags, cwd=APPS, parameters={"begins": "socket"})
    mold = refork(server)
    assert all(one["told"][-1] == f"closed by {mold}" for one in every_worker(server))


def test_a_new_mold_that_is_killed_is_made_again_from_the_application(serve: Serve) -> None:
    server = serve(WSGI, *FLAGS)
    mold = refork(server)
    workers = server.workers()
    os.kill(mold, signal.SIGKILL)
    server.wait_log("the application is loaded again")
    assert server.workers() == workers
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: set(server.workers("spare", "active")) - set(workers), "another worker")
    assert server.stop() == 0


def test_a_reload_brings_new_code_after_a_refork(tmp_path: Path) -> None:
    source = "def app(e, s):\n    s('200 OK', [])\n    return [b'{}']\n"
    app = write_app(tmp_path, source)
    with running(str(app), "--bind", "127.0.0.1:0", *FLAGS) as server:
        mold = refork(server)
        write_app(tmp_path, source.replace("{}", '{"new": 1}'))
        server.signal(signal.SIGHUP)
        server.wait_log("reload: every worker is of generation 3")
        assert ask(server) == {"new": 1}
        assert not alive(mold)
        assert refork(server, generation=4) != mold
        assert ask(server) == {"new": 1}
        assert server.stop() == 0


@tls.plain_and_tls
@pytest.mark.parametrize("app", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_no_request_is_lost_and_no_connection_closed(
    serve: Serve, app: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("static")
    server = serve(app, *flags, "--workers", "3", "--refork-after", "200", "--static", f"/files={tmp_path}")
    with Load(server, 6, "/") as load:
        for generation in (2, 3):
            server.wait_log(f"every worker is of generation {generation}", 60)
            assert server.get("/files/file") == b"static"
        load.more(200)
    assert load.lost == []
    assert load.opened == 6
    assert load.refused == 0
    assert load.statuses == {200}
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_workers_share_what_a_cache_takes(serve: Serve) -> None:
    server = serve(WSGI, *FLAGS, "--refork-after", "400", parameters={"entries": 50_000})
    every_worker(server)
    before = private(server)
    refork(server)
    every_worker(server)
    after = private(server)
    assert min(before) > 10 << 20
    assert max(after) < max(before) / 2

    def report() -> dict[str, Any]:
        told = status_json(server.glue or "")["manager"]["refork"] or {}  # it may be too busy to respond
        return told if told.get("now") else {}

    told = wait_until(report, "the figures", 30)
    assert told["now"]["private"] < told["before"]["private"]
    assert told["count"] == 1
    assert "memory of a worker before" in run_prefork("status", "--glue", server.glue or "").stdout


def private(server: Server) -> list[int]:
    parts = [memory.parts(pid) for pid in server.workers("spare", "active")]
    return [own for one in parts if one is not None for own in one[1:]]


@pytest.mark.parametrize(
    ("target", "flags", "told"),
    [
        (WSGI, ("--no-preload",), "without no_preload"),
        (WSGI, ("--sandbox", "on"), "exclude each other"),
        (WSGI, ("--max-requests", "100"), "is never reached"),
        (APPS / "hello.py", (), "needs a PreForkServer"),
    ],
)
def test_where_there_is_no_mold_it_is_refused(target: Path, flags: tuple[str, ...], told: str) -> None:
    done = run_prefork("serve", str(target), "--bind", "127.0.0.1:0", *FLAGS, *flags)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
