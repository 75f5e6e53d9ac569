"""A WSGI application for clients of HTTP/2."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any


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
    else:
        body = b"hello"
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
