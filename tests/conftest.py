"""Fixtures that start the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import harness, pools, stage

Serve = Callable[..., harness.Server]
MakePool = Callable[..., pools.Pool]

ASGI_APP = Path(__file__).parent / "asgi_app.py"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(source, *options)` writes an application and serves it on a free port of 127.0.0.1.

    A Path is served where it is. `--bind` may say another address, and with `bind=False` the application
    does. Every server is killed when the test ends.
    """
    servers: list[harness.Server] = []

    def begin(source: str | Path, *options: str, bind: bool = True, **settings: object) -> harness.Server:
        path = source if isinstance(source, Path) else harness.write_app(tmp_path, source)
        place = ("--bind", "127.0.0.1:0") if bind and "--bind" not in options else ()
        server = harness.start(str(path), *place, *options, **settings)
        servers.append(server)
        return server.wait_serving()

    yield begin
    for server in servers:
        server.kill()


@pytest.fixture(params=["asyncio", "uvloop"])
def asgi(serve: Serve, request: pytest.FixtureRequest) -> harness.Server:
    """`asgi_app.py` without a pool, on either loop."""
    return serve(ASGI_APP, "--start", "0", "--loop", request.param)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MakePool]:
    """`pool(options, *flags)` serves what `pooled(<options>)` makes; see pools.py and pooled.py."""
    started: list[pools.Pool] = []

    def begin(options: str = "", *flags: str, **settings: object) -> pools.Pool:
        pool = pools.start(tmp_path, options, flags, **settings)
        started.append(pool)
        return pool.wait_serving()

    yield begin
    for pool in started:
        pool.kill()


@pytest.fixture
def at() -> Iterator[stage.At]:
    """`at(handler, **settings)` is an engine in this process; without a handler it answers at once."""
    stages: list[stage.Stage] = []

    def begin(*handler: Any, **settings: Any) -> stage.Stage:
        stages.append(stage.Stage(*handler, **settings))
        return stages[-1]

    yield begin
    for one in stages:
        one.close()


@pytest.fixture
def client(site: harness.Server) -> Iterator[httpx.Client]:
    """A client of the application that the test's module serves as its fixture `site`."""
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client
