"""A WSGI application that keeps memory, and is stuck in ways that an exception ends or does not."""

from __future__ import annotations

import os
import time
from pathlib import Path

kept: list[bytes] = []


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/leak":
        kept.append(b"x" * (int(query) << 20))
    if path in ("/sleeps", "/spins"):
        try:
            Path(f"{query}.entered").touch()
            while True:
                if path == "/sleeps":
                    time.sleep(60)
        finally:
            Path(f"{query}.left").touch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
