"""A plain WSGI application with the same response."""

from __future__ import annotations

from collections.abc import Callable

from bench.servers import BODY

CONTENT = [BODY.encode()]
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def app(_environ: object, start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    start_response("200 OK", HEADERS)
    return CONTENT
