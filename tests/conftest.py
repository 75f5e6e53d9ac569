"""Fixtures that start the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest

Serve = Callable[..., harness.Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(source, *options)` writes an application and serves it on a free port of 127.0.0.1.

    A Path is served where it is. `--bind` may say otherwise. Every server is killed when the test ends.
    """
    servers: list[harness.Server] = []

    def begin(source: str | Path, *options: str, **settings: object) -> harness.Server:
        path = source if isinstance(source, Path) else harness.write_app(tmp_path, source)
        bind = () if "--bind" in options else ("--bind", "127.0.0.1:0")
        server = harness.start(str(path), *bind, *options, **settings)
        servers.append(server)
        return server.wait_serving()

    yield begin
    for server in servers:
        server.kill()
