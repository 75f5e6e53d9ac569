"""One server with one worker for all of these tests: a bad request must not affect the next client.

Every test runs over each way to the server: what comes through TLS means the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import tls
from support.apps import APPS
from support.server import running
from support.streams import Streams
from support.wire import Wire

OPTIONS = ("--workers", "1", "--header-timeout", "0.3", "--max-body", "1000")
WAYS: dict[str, tuple[str, ...]] = {"plain": (), "tls": tls.OPTIONS}


@pytest.fixture(scope="session", params=WAYS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    options = (*OPTIONS, *WAYS[request.param])
    with running(str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", *options) as server:
        yield Wire(server)


HTTP2_WAYS: dict[str, tuple[str, ...]] = {"h2c": ("--h2c",), "tls": tls.OPTIONS}


@pytest.fixture(scope="session", params=HTTP2_WAYS)
def streams(request: pytest.FixtureRequest) -> Iterator[Streams]:
    options = (*OPTIONS, *HTTP2_WAYS[request.param])
    with running(str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", *options) as server:
        yield Streams(server)
