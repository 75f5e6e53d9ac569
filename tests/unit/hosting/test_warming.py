"""What an application does in a mold, and that nothing of it is left running."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions, ServeOptions
from prefork.errors import OptionError, TargetError
from prefork.hosting import throwaway
from prefork.hosting.asgi import ASGIService
from prefork.hosting.asgi_types import Receive, Scope, Send
from prefork.hosting.static.mounts import Mounts
from prefork.hosting.warming import warm
from prefork.hosting.wsgi import WSGIService

logging.getLogger("prefork.mold").setLevel(logging.INFO)


def wsgi(app: Any, *pages: str, **options: Any) -> None:
    chosen = check(AppOptions, {"warm": pages, **options})
    warm(WSGIService(app, chosen), chosen)


def asgi(app: Any, *pages: str, **options: Any) -> None:
    chosen = check(AppOptions, {"warm": pages, **options})
    warm(ASGIService(app, chosen), chosen)


class Shop:
    """An ASGI application with a lifespan, that notes what it is asked."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.startup = "complete"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.events.append("startup")
            scope["state"]["database"] = "open"
            await send({"type": f"lifespan.startup.{self.startup}", "message": "no database"})
            await receive()
            self.events.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"]["database"] == "open"
        self.events.append(scope["path"])
        await self.respond(send)

    async def respond(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})


def test_pages_are_requested_in_order(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["wsgi.multiprocess"]
        seen.append(environ["PATH_INFO"])
        start_response("200 OK" if environ["PATH_INFO"] == "/" else "404 Not Found", [])
        return [b"no such page"]

    wsgi(app, "/", "/typo", "/")
    assert seen == ["/", "/typo", "/"]
    first, second, third = (record.getMessage() for record in caplog.records)
    assert first.startswith("warmed by /: 200 in ")
    assert second == "--warm /typo: 404: no such page"
    assert third.startswith("warmed by /: 200 in ")


def test_a_refused_host_has_a_hint(caplog: pytest.LogCaptureFixture) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("400 Bad Request", [])
        return []

    wsgi(app, "/", "http://a/")
    assert "give a URL" in caplog.records[0].getMessage()
    assert "give a URL" not in caplog.records[1].getMessage()


def test_a_failure_is_a_line_and_the_rest_follows(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/":
            raise LookupError("no table")
        start_response("200 OK", [])
        return []

    wsgi(app, "/", "/second")
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"--warm /: it raised LookupError('no table') ({__file__}:")
    assert second.startswith("warmed by /second")


def test_requests_are_within_one_lifespan() -> None:
    shop = Shop()
    asgi(shop, "/", "/second")
    assert shop.events == ["startup", "/", "/second", "shutdown"]


def test_a_startup_that_fails_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.startup = "failed"
    asgi(shop, "/")
    assert shop.events == ["startup"]
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "--warm: its requests were broken off: application Shop failed to start: no database"
    )


def test_a_startup_that_does_not_end_is_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throwaway, "LIFESPAN_S", 0.05)

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    asgi(app, "/")
    assert caplog.messages == [
        "--warm: its requests were broken off: application app did not start up within 0.05 s"
    ]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loop_is_of_the_applications_kind_and_closed(loop: str) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Loops(Shop):
        async def respond(self, send: Send) -> None:
            loops.append(asyncio.get_running_loop())
            await super().respond(send)

    asgi(Loops(), "/", loop=loop)
    (used,) = loops
    assert used.is_closed()
    assert type(used).__module__.startswith("uvloop" if loop == "uvloop" else "asyncio")


def test_tasks_and_threads_are_ended() -> None:
    before = threading.active_count()
    left: list[Any] = []

    class Leaves(Shop):
        async def respond(self, send: Send) -> None:
            await asyncio.to_thread(lambda: None)
            left.append(asyncio.create_task(asyncio.sleep(3600)))
            await super().respond(send)

    asgi(Leaves(), "/")
    assert left[0].cancelled()
    assert threading.active_count() == before


def test_the_threads_of_anyio_end() -> None:
    to_thread = pytest.importorskip("anyio.to_thread")
    before = threading.active_count()

    class InThreads(Shop):
        async def respond(self, send: Send) -> None:
            await to_thread.run_sync(lambda: None)
            await super().respond(send)

    asgi(InThreads(), "/")
    assert threading.active_count() == before


def test_the_hook_comes_last() -> None:
    shop = Shop()
    asgi(shop, "/", mold_ready=lambda: shop.events.append("hook"))
    assert shop.events == ["startup", "/", "shutdown", "hook"]


def test_a_hook_alone_begins_no_lifespan() -> None:
    shop = Shop()
    asgi(shop, mold_ready=lambda: shop.events.append("hook"))
    assert shop.events == ["hook"]


def test_a_hook_that_raises_fails_the_load() -> None:
    def fails() -> None:
        raise LookupError("no file")

    with pytest.raises(TargetError, match="--mold-ready") as raised:
        wsgi(None, mold_ready=fails)
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_hook_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OptionError, match="mold_ready nowhere:function"):
        wsgi(None, mold_ready="nowhere:function")


def test_an_application_behind_directories_is_warmed(tmp_path: Path) -> None:
    shop = Shop()
    options = check(AppOptions, {"warm": ["/static/x"]})
    warm(
        Mounts(ASGIService(shop, options), check(ServeOptions, {"static": {"/static": str(tmp_path)}})),
        options,
    )
    assert shop.events == ["startup", "/static/x", "shutdown"]


def test_a_pool_of_threads_that_a_page_uses_has_no_thread_left() -> None:
    pool = ThreadPoolExecutor(1)
    before = threading.active_count()

    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [pool.submit(lambda: b"done").result(10)]

    wsgi(app, "/")
    assert threading.active_count() == before
    assert pool.submit(lambda: 7).result(10) == 7
    pool.shutdown()


@pytest.mark.parametrize("place", ["page", "hook"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_the_application_forks_ends_there(place: str, tmp_path: Path) -> None:
    def fork() -> None:
        if pid := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if place == "page":
            fork()
        start_response("200 OK", [])
        return []

    wsgi(app, "/", mold_ready=fork if place == "hook" else None)
    with (tmp_path / "lived").open("a") as lived:
        lived.write("once")
    assert (tmp_path / "lived").read_text() == "once"


def test_an_application_without_a_lifespan_is_warmed(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    asgi(app, "/")
    assert caplog.messages[0].startswith("warmed by /: 200 in ")
