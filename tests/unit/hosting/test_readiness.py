"""A process whose application does not work does not serve (`--ready-path`)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions
from prefork.errors import NotReady
from prefork.hosting import readiness
from prefork.hosting.asgi import ASGIService
from prefork.hosting.asgi_types import Receive, Scope, Send
from prefork.hosting.readiness import judge
from prefork.hosting.wsgi import WSGIService
from prefork.server.service import Outcome
from support.local_server import LocalServer

THREADS = pytest.mark.parametrize("threads", [1, 2])


@pytest.mark.parametrize(
    "outcome", [Outcome(200), Outcome(302), Outcome(404, says="no such page"), Outcome(499)]
)
def test_a_response_below_500_is_ready(outcome: Outcome) -> None:
    judge("/ready", outcome)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(500), "500"),
        (Outcome(503, says="no database"), "503: no database"),
        (Outcome(None, "it raised LookupError()"), "it raised LookupError()"),
        (Outcome(200, "it had not ended after 10 s"), "200: it had not ended after 10 s"),
    ],
)
def test_all_else_is_not(outcome: Outcome, why: str) -> None:
    with pytest.raises(NotReady) as raised:
        judge("/ready", outcome)
    assert str(raised.value) == f"--ready-path /ready: {why}"


def served(service: Any) -> int:
    """The status of a first request; -1 if the process does not serve."""
    statuses = [-1]

    async def client(local: LocalServer) -> None:
        statuses.append((await local.get()).status)

    local = LocalServer(service)
    with contextlib.suppress(SystemExit):
        local.run(client)
    return statuses[-1]


class Pages:
    """A WSGI application that responds to the ready path with `status`."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()  # as in any request
        self.paths.append(environ["PATH_INFO"])
        start_response(self.status if environ["PATH_INFO"] == "/ready" else "200 OK", [])
        return [b"why"]


@THREADS
def test_wsgi_is_asked_before_it_serves(threads: int) -> None:
    pages = Pages("204 No Content")
    assert served(WSGIService(pages, check(AppOptions, {"ready_path": "/ready", "threads": threads}))) == 200
    assert pages.paths == ["/ready", "/"]


@THREADS
def test_wsgi_that_is_not_ready_does_not_serve(threads: int, caplog: pytest.LogCaptureFixture) -> None:
    pages = Pages("503 Service Unavailable")
    assert served(WSGIService(pages, check(AppOptions, {"ready_path": "/ready", "threads": threads}))) == -1
    assert pages.paths == ["/ready"]
    assert "the application failed to start: --ready-path /ready: 503: why" in caplog.text
    assert "Traceback" not in caplog.text


@THREADS
def test_wsgi_that_does_not_end_does_not_serve(
    threads: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LIMIT_S", 0.05)

    def app(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        time.sleep(0.5)
        raise AssertionError

    assert served(WSGIService(app, check(AppOptions, {"ready_path": "/ready", "threads": threads}))) == -1
    assert "--ready-path /ready: it had not ended after 0.05 s" in caplog.text


class Shop:
    """An ASGI application that responds to the ready path with `status`."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.events: list[str] = []
        self.loops: set[Any] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loops.add(asyncio.get_running_loop())
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                self.events.append(phase)
                scope["state"]["database"] = "open"
                await send({"type": f"lifespan.{phase}.complete"})
            return
        assert scope["state"]["database"] == "open"
        self.events.append(scope["path"])
        await send(
            {"type": "http.response.start", "status": self.status if scope["path"] == "/ready" else 200}
        )
        await send({"type": "http.response.body", "body": b"why"})


def test_asgi_is_asked_after_its_startup_on_the_loop_that_serves() -> None:
    shop = Shop(404)
    assert served(ASGIService(shop, check(AppOptions, {"ready_path": "/ready"}))) == 200
    assert shop.events == ["startup", "/ready", "/", "shutdown"]
    assert len(shop.loops) == 1


def test_asgi_that_is_not_ready_is_shut_down(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(500)
    assert served(ASGIService(shop, check(AppOptions, {"ready_path": "/ready"}))) == -1
    assert shop.events == ["startup", "/ready", "shutdown"]
    assert "the application failed to start: --ready-path /ready: 500: why" in caplog.text
