"""One server with one worker for all of these tests: a bad request must not affect the next client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.apps import APPS
from support.server import running
from support.wire import Wire

OPTIONS = ("--workers", "1", "--header-timeout", "0.3", "--max-body", "1000")


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    with running(str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", *OPTIONS) as server:
        yield Wire(server)
