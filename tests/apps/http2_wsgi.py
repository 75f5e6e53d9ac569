"""A WSGI application for clients of HTTP/2."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


def block(path: str) -> bytes:
    """Wait for this file, and say in another one that it is waited for."""
    Path(path + ".begun").write_text(str(os.getpid()))
    while not os.path.exists(path):
        time.sleep(0.001)
    return str(os.getpid()).encode()


def parts_around(path: str) -> Iterator[bytes]:
    yield b"begun "
    yield block(path)


def flood(path: str) -> Iterator[bytes]:
    """Many parts, and how many of them were taken in this file."""
    for number in range(400):
        Path(path).write_text(str(number))
        yield b"%05d" % number * 10_000


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    fields = [("Content-Type", "text/plain"), ("X-Kind", "wsgi")]
    if path == "/environ":
        body = json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()
    elif path == "/hash":
        body = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
    elif path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/sleep":
        time.sleep(float(environ["QUERY_STRING"]))
        body = b"slept"
    elif path == "/block":
        body = block(environ["QUERY_STRING"])
    elif path == "/begun":
        start_response("200 OK", fields)
        return parts_around(environ["QUERY_STRING"])
    elif path == "/flood":
        start_response("200 OK", fields)
        return flood(environ["QUERY_STRING"])
    elif path == "/parts":
        start_response("200 OK", fields)
        return (b"%05d" % number * 2000 for number in range(200))
    elif path == "/written":
        write = start_response("200 OK", fields)
        for number in range(200):
            write(b"%05d" % number * 2000)
        return []
    elif path == "/file":
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
        file.write(bytes(range(256)) * 4000)
        file.seek(0)
        start_response("200 OK", fields)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return wrapped
    elif path == "/short":
        start_response("200 OK", [*fields, ("Content-Length", "10")])
        return [b"five!"]
    elif path == "/empty":
        start_response("204 No Content", fields)
        return []
    elif path == "/unchanged":
        start_response("304 Not Modified", [*fields, ("ETag", '"a"')])
        return []
    else:
        body = b"hello"
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
