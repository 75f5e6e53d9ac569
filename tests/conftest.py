"""The fixtures that start what is tested. CONTRIBUTING.md has a table of them, with examples."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from support.apps import ASGI_APP
from support.engine import LocalEngine, RunEngine
from support.pool import MakePool, Pool, start_pool
from support.server import Serve, Server, start_server, write_app

# An example takes as long as the machine is busy.
hypothesis.settings.register_profile("prefork", deadline=None)
hypothesis.settings.load_profile("prefork")


def pytest_configure() -> None:
    """Restores the signals that a shell ignores in the jobs that it starts in the background, and that
    nohup(1) ignores: tests send them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is for another CPython (`for_python`): it runs where that is."""
    others = [item for item in items if any(not mark.args[0] for mark in item.iter_markers("for_python"))]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has logged may hold what no UTF-8 has: a lone surrogate. A report is sent as that."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(application, *options)` serves an application on a free port of 127.0.0.1.

    A Path is served where it is; a text is written to a file first. The option `--bind` overrides the
    address, and with `bind=False` the application sets it. Every server is killed when the test ends.
    """
    servers: list[Server] = []

    def begin(source: str | Path, *options: str, bind: bool = True, **settings: Any) -> Server:
        path = source if isinstance(source, Path) else write_app(tmp_path, source)
        place = ("--bind", "127.0.0.1:0") if bind and "--bind" not in options else ()
        server = start_server(str(path), *place, *options, **settings)
        servers.append(server)
        return server.wait_serving()

    yield begin
    for server in servers:
        server.kill()


@pytest.fixture(params=["asyncio", "uvloop"])
def asgi(serve: Serve, request: pytest.FixtureRequest) -> Server:
    """`apps/asgi_app.py` without a pool, once on each loop."""
    return serve(ASGI_APP, "--start", "0", "--loop", request.param)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MakePool]:
    """`pool(*flags, **options)` serves `apps/pool_app.py`, whose server is made with these options.

    With `ready=False` no worker is waited for.
    """
    started: list[Pool] = []

    def begin(*flags: str, ready: bool = True, **options: Any) -> Pool:
        pool = start_pool(tmp_path, *flags, **options)
        started.append(pool)
        return pool.wait_serving() if ready else pool.wait_begun()

    yield begin
    for pool in started:
        pool.kill()


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """`run_engine(handler, **settings)` runs an engine in this process; by default it responds at once."""
    engines: list[LocalEngine] = []

    def begin(*handler: Any, **settings: Any) -> LocalEngine:
        engines.append(LocalEngine(*handler, **settings))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.close()


@pytest.fixture
def client(site: Server) -> Iterator[httpx.Client]:
    """A client of the application that the test's module serves as its fixture `site`."""
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client
