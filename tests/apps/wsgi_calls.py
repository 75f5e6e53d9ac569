"""WSGI applications by the path: what they are called with and what they may return."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import wsgiref.validate
from typing import Any
from urllib.parse import unquote

seen: dict[str, list[Any]] = {"closed": []}


class Body:
    """An iterable that is no list, and records when it was closed."""

    def __init__(self, name, pieces):
        self.name, self.pieces = name, pieces

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        seen["closed"].append([self.name, threading.current_thread() is self.thread])

    thread = property(lambda self: self.__dict__.setdefault("_thread", threading.current_thread()))


def say(environ, start_response, *pieces, headers=()):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return list(pieces)


def environ(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, bool, list, tuple))}
    return say(environ, start_response, json.dumps(shown).encode())


def seen_(environ, start_response):
    reported = json.dumps(seen).encode()
    seen["closed"].clear()
    return say(environ, start_response, reported)


def echo(environ, start_response):
    return say(environ, start_response, environ["wsgi.input"].read())


def reads(environ, start_response):
    stream = environ["wsgi.input"]
    parts = [
        stream.read(0),
        stream.read(3),
        stream.readline(),
        stream.readline(2),
        stream.readlines(1),
        list(stream),
        stream.read(),
        stream.read(5),
        stream.readline(),
        stream.readlines(),
    ]
    return say(environ, start_response, repr(parts).encode())


def used(environ, start_response):
    """What libraries do with a binary file."""
    stream = environ["wsgi.input"]
    whole = stream.read()
    room = bytearray(3)
    found = [
        stream.seek(0),
        csv_rows(stream),
        stream.closed,
        stream.seek(-2, 2),
        stream.read(),
        stream.seek(1),
        stream.seek(1, 1),
        stream.tell(),
        [stream.readinto(room), bytes(room)],
        stream.seek(10_000),
        [stream.readinto1(room), stream.read1(), stream.readall()],
        [stream.readable(), stream.seekable(), stream.writable(), stream.isatty(), stream.flush()],
        isinstance(stream, io.BufferedIOBase),
        stream.seek(0),
        io.BufferedReader(stream).read() == whole,  # which closes it
        stream.closed,
    ]
    for method in (stream.read, stream.fileno, lambda: stream.seek(0, 5)):
        try:
            method()
        except (ValueError, OSError) as error:
            found.append(f"{type(error).__name__}: {error}")
    return say(environ, start_response, repr(found).encode())


def csv_rows(stream):
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    rows = list(csv.reader(text))
    text.detach()
    return rows


def wrapped_input(environ, start_response):
    """The wrapper is freed here, and closes what it wraps."""
    return say(environ, start_response, io.TextIOWrapper(environ["wsgi.input"], "utf-8").read().encode())


def several(environ, start_response):
    return say(environ, start_response, b"one ", b"", b"two")


def pair(environ, start_response):
    return tuple(say(environ, start_response, b"a", b"b"))


def empty(environ, start_response):
    return say(environ, start_response)


def generator(environ, start_response):
    yield b""
    start_response("201 Created", [("Content-Type", "text/plain")])
    yield b"first "
    yield b""
    yield b"second"


def iterable(environ, start_response):
    say(environ, start_response)
    return Body("iterable", [b"x", b"y"])


def written(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written, ")
    write(b"")
    return [b"returned"]


def replaced(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-One", "1")])
    try:
        raise ValueError("no")
    except ValueError:
        start_response("503 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"sorry"]


def wrapped(environ, start_response):
    file = open(__file__, "rb")  # noqa: SIM115  (the server closes it)
    file.read(7)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](file)


def wrapped_part(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"), 4)


def wrapped_memory(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    file = io.BytesIO(b"0123456789")
    file.close = lambda: seen["closed"].append(["memory", True])  # type: ignore[method-assign]
    return environ["wsgi.file_wrapper"](file, 4)


def status(environ, start_response):
    start_response(unquote(environ["QUERY_STRING"].replace("+", " "), "latin-1"), [])
    return [b"said"]


def broken(environ, start_response):
    start_response("200 All is well", [])
    raise ValueError("it is not")


def valid(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Body("valid", [b"got ", body or b"nothing"])


validated = wsgiref.validate.validator(valid)


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0] or "environ"
    return globals()[name if name != "seen" else "seen_"](environ, start_response)
