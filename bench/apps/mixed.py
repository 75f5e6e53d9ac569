"""A WSGI application that takes its time: 100 ms for a path that begins with /slow, 5 ms for all others."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.apps.wsgi import CONTENT, HEADERS

USUAL_S, SLOW_S = 0.005, 0.100


def app(
    environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> list[bytes]:
    time.sleep(SLOW_S if environ["PATH_INFO"].startswith("/slow") else USUAL_S)
    start_response("200 OK", HEADERS)
    return CONTENT
