"""`--warm`, `--mold-ready` and `--ready-path` with real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.server import Serve, run_prefork

INTERFACES = pytest.mark.parametrize("interface", ["wsgi", "asyncio", "uvloop"])


def target(interface: str) -> Any:
    if interface == "wsgi":
        return (Path(f"{APPS / 'warm.py'}:wsgi"),)
    return Path(f"{APPS / 'warm.py'}:asgi"), "--loop", interface


@INTERFACES
def test_workers_inherit_what_a_first_request_makes(serve: Serve, interface: str) -> None:
    flags = ("--workers", "2", "--warm", "/", "--warm", "/second", "--mold-ready", "warm:mold_ready")
    server = serve(*target(interface), *flags)
    asked = json.loads(server.get("/now"))
    [(mold, _), *_] = asked
    pages = ["/", "/second"] if interface == "wsgi" else ["startup", "/", "/second", "shutdown"]
    assert [path for pid, path in asked if pid == mold] == [*pages, "mold_ready"]
    worker = asked[-1][0]
    assert worker in server.workers()
    own = [] if interface == "wsgi" else ["startup"]
    assert [path for pid, path in asked if pid == worker] == [*own, "/now"]
    assert "warmed by /second: 200 in" in server.log


@INTERFACES
@pytest.mark.parametrize("start", ["0", "1"])
def test_each_process_is_asked_before_it_accepts(serve: Serve, interface: str, start: str) -> None:
    server = serve(*target(interface), "--start", start, "--ready-path", "/ready")
    asked = json.loads(server.get("/now"))
    assert [path for pid, path in asked if pid == asked[-1][0]][-2:] == ["/ready", "/now"]


@INTERFACES
def test_a_pool_whose_application_is_not_ready_ends(interface: str) -> None:
    flags = ("--bind", "127.0.0.1:0", "--ready-path", "/ready", "--boot-failures", "1", "--workers", "1")
    done = run_prefork(
        "serve", *map(str, target(interface)), *flags, env={"TEST_PARAMETERS": "{'ready': 503}"}
    )
    assert done.returncode == 3
    assert "worker failed to start: --ready-path /ready: 503" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_fork_nothing_is_warmed(serve: Serve) -> None:
    server = serve(*target("wsgi"), "--start", "0", "--warm", "/")
    server.wait_log("--warm, --mold-ready have no effect")
    assert [path for _, path in json.loads(server.get("/now"))] == ["/now"]


@INTERFACES
def test_the_heap_is_immortal_where_that_is_known(serve: Serve, interface: str) -> None:
    server = serve(*target(interface), "--workers", "2", "--warm", "/", "--immortal", "--max-requests", "3")
    for _ in range(12):
        assert json.loads(server.get("/now"))
    is_known = sys.version_info[:2] in ((3, 12), (3, 13))
    assert ("--immortal is off" in server.log) is not is_known
    assert ("fixed the reference counts of" in server.log) is is_known
    assert server.stop() == 0
    assert len(server.err) == 3


@INTERFACES
def test_a_child_that_a_page_forks_does_not_serve(serve: Serve, interface: str) -> None:
    flags = ("--workers", "1", "--warm", "/warm", "--ready-path", "/ready")
    server = serve(*target(interface), *flags, parameters={"forks": ["/warm", "/ready"]})
    asked = json.loads(server.get("/now"))
    assert [path for _, path in asked if path.startswith("forked")] == ["forked 0", "forked 0"]
    assert len(server.workers()) == 1
    assert len(server.out) == 1
    assert len(server.err) == 1
