"""The log of applications that configure logging themselves: nothing is silenced, nothing is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.apps import APPS
from support.server import Serve


@pytest.mark.parametrize(
    ("name", "when", "options"),
    [
        ("wsgi", "import", ()),
        ("wsgi", "request", ()),
        ("wsgi", "request", ("--threads", "2")),
        ("create", "factory", ("--factory",)),
        ("asgi", "import", ()),
        ("asgi", "startup", ()),
        ("asgi", "request", ("--loop", "uvloop")),
    ],
)
def test_no_configuration_of_an_application_silences_the_server(
    serve: Serve, name: str, when: str, options: tuple[str, ...]
) -> None:
    target = Path(f"{APPS / 'log_configured.py'}:{name}")
    server = serve(target, "--workers", "1", *options, parameters={"when": when})
    assert server.request("/page")[0] == 500
    line = server.wait_log("failed on GET /page: KeyError('the bug')")
    assert line.startswith("SHOP ERROR prefork.server application")
    assert server.stop() == 0
    assert "KeyError: 'the bug'" in server.log


@pytest.mark.parametrize("debug", [True, False])
def test_what_django_logs_is_there_once(serve: Serve, debug: bool) -> None:
    pytest.importorskip("django")
    server = serve(APPS / "django_debug.py", "--workers", "1", parameters={"debug": debug})
    assert server.request("/nothing")[0] == 404
    assert server.request("/fails")[0] == 500
    assert server.stop() == 0
    for line in ("Not Found: /nothing", "Internal Server Error: /fails", "LookupError: the bug"):
        assert server.log.count(line) == 1, line


def test_what_flask_logs_is_there_once(serve: Serve) -> None:
    server = serve(APPS / "flask_logs.py", "--workers", "1")
    assert server.request("/")[0] == 500
    assert server.stop() == 0
    for line in ("made", "Exception on / [GET]", "LookupError: the bug"):
        assert server.log.count(line) == 1, line
