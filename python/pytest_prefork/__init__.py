"""The fixture `prefork_server` of pytest.

pytest imports this module in every run where prefork is installed. So it stands beside the package, which it
imports when a test asks for the fixture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prefork import BackgroundServer

SERVERS = pytest.StashKey[list["BackgroundServer"]]()
"""The servers of a test."""


@pytest.fixture
def prefork_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., BackgroundServer]]:
    """`prefork_server(app, **options)` serves an application until the test ends, as `prefork.serve` does.

    What the servers print and log is in their `output`, and in the report of a test that fails.
    """
    import prefork

    servers = request.node.stash[SERVERS] = []
    with contextlib.ExitStack() as stack:

        def begin(application: Any, **options: Any) -> BackgroundServer:
            server = prefork.serve(application, capture_output=True, **options)
            servers.append(server)
            return stack.enter_context(server)

        yield begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what the servers of a test have written, if it fails."""
    report = yield
    if report.failed:
        for server in item.stash.get(SERVERS, []):
            report.sections.append(
                (f"prefork_server {getattr(server, 'url', '')} ({report.when})", server.output)
            )
    return report
