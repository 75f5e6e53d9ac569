"""The first things that a newcomer tries."""

from __future__ import annotations

from support.apps import APPS
from support.server import Serve

HELLO = APPS / "hello.py"


def test_a_function_responds(serve: Serve) -> None:
    server = serve(HELLO)
    assert server.get("/hello/world") == b"hello world"
    status, _, body = server.request("/elsewhere")
    assert (status, body) == (404, b"404 Not Found")
    assert server.stop() == 0
