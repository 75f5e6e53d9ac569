"""A WSGI application that keeps something for its thread while it makes a body, as a database connection in
the middle of a transaction.
"""

from __future__ import annotations

import os
import threading
import time

mine = threading.local()


def stream(blocks):
    mine.busy = True
    try:
        for _ in range(blocks):
            yield b"x" * 65536
    finally:
        mine.busy = False


def undecided():
    """Empty parts for ever."""
    mine.busy = True
    try:
        while True:
            yield b""
    finally:
        mine.busy = False


def blocked(go):
    """Its second part takes until the file `go` is there."""
    mine.busy = True
    yield b"first"
    while not os.path.exists(go):
        time.sleep(0.002)
    mine.busy = False
    yield b"second"


def written(start_response, blocks):
    write = start_response("200 OK", [])
    mine.busy = True
    for _ in range(blocks):
        write(b"x" * 65536)
    mine.busy = False
    return []


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    disturbs = getattr(mine, "busy", False)
    if path == "/written":
        return written(start_response, int(query))
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        return stream(int(query))
    if path == "/undecided":
        return undecided()
    if path == "/blocked":
        return blocked(query)
    size = len(environ["wsgi.input"].read())
    return [f"{'disturbs' if disturbs else 'alone'} {size} {os.getpid()}".encode()]
