"""WSGI applications that do wrong."""

from __future__ import annotations

import json
import os
import sys

closed: list[str] = []


class Body(list[bytes]):
    def __init__(self, pieces, error=None):
        super().__init__(pieces)
        self.error = error

    def __iter__(self):
        for piece in super().__iter__():
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def close(self):
        closed.append(type(self).__name__)
        if self.error:
            raise self.error


def body(start_response, *pieces, headers=(), error=None):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return Body(pieces, error)


APPS = {
    "fine": lambda e, s: [s("200 OK", []) and str(os.getpid()).encode()],
    "closed": lambda e, s: [s("200 OK", []) and json.dumps(closed).encode()],
    "before": lambda e, s: 1 / 0,
    "during": lambda e, s: s("200 OK"),
    "after": lambda e, s: [s("200 OK", []), 1 / 0],
    "exits": lambda e, s: sys.exit(3),
    "first": lambda e, s: body(s, ValueError("no first")),
    "quits": lambda e, s: body(s, GeneratorExit("no more")),
    "quits_later": lambda e, s: body(s, b"some", GeneratorExit("no more")),
    "later": lambda e, s: body(s, b"some", ValueError("no more")),
    "text": lambda e, s: [s("200 OK", []) and "text"],
    "text_later": lambda e, s: body(s, b"some", "text"),
    "text_written": lambda e, s: s("200 OK", [])("text"),
    "number": lambda e, s: s("200 OK", []) and 5,
    "nothing": lambda e, s: s("200 OK", []) and None,
    "bare": lambda e, s: s("200 OK", []) and b"bare",
    "silent": lambda e, s: [b"x"],
    "silent_empty": lambda e, s: iter([]),
    "twice": lambda e, s: [s("200 OK", []), s("200 OK", [])],
    "long": lambda e, s: [s("200 OK", [("Content-Length", "3")]) and b"12345"],
    "long_pieces": lambda e, s: body(s, b"12", b"345", headers=[("Content-Length", "3")]),
    "short": lambda e, s: [s("200 OK", [("Content-Length", "9")]) and b"12345"],
    "short_pieces": lambda e, s: body(s, b"12", b"345", headers=[("Content-Length", "9")]),
    "split": lambda e, s: [s("200 OK", [("X-A", "a\r\nSet-Cookie: b")]) and b""],
    "name": lambda e, s: [s("200 OK", [("X A", "a")]) and b""],
    "bytes_header": lambda e, s: [s("200 OK", [(b"X-A", b"a")]) and b""],
    "dict_headers": lambda e, s: [s("200 OK", {"X-A": "a"}) and b""],
    "hop": lambda e, s: [s("200 OK", [("Connection", "close")]) and b""],
    "coding": lambda e, s: [s("200 OK", [("Transfer-Encoding", "chunked")]) and b""],
    "status": lambda e, s: [s("OK", []) and b""],
    "status_number": lambda e, s: [s(200, []) and b""],
    "status_bytes": lambda e, s: [s(b"200 OK", []) and b""],
    "interim": lambda e, s: [s("100 Continue", []) and b""],
    "closing": lambda e, s: body(s, b"fine", error=ValueError("no close")),
    "late": lambda e, s: late(s),
}


def late(start_response):
    write = start_response("200 OK", [])
    write(b"some")
    try:
        raise ValueError
    except ValueError:
        start_response("500 Oh", [], sys.exc_info())


def app(environ, start_response):
    return APPS[environ["PATH_INFO"].strip("/")](environ, start_response)
