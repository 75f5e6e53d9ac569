"""WSGI applications that read and send large bodies, in one thread or several."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import os
import threading
import time
from typing import Any

from parameters import PARAMETERS

state: dict[str, Any] = {"made": 0, "closed": 0, "errors": []}
who = contextvars.ContextVar("who", default="unset")
MIB = b"x" * (1 << 20)


def state_(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps(state).encode()]


def many(environ, start_response):
    """200 MiB, or as many as the query has."""
    start_response("200 OK", [])
    try:
        for _ in range(int(environ["QUERY_STRING"] or 200)):
            state["made"] += 1
            yield MIB
    finally:
        state["closed"] += 1


def many_written(environ, start_response):
    write = start_response("200 OK", [])
    try:
        for _ in range(int(environ["QUERY_STRING"] or 200)):
            state["made"] += 1
            write(MIB)
    except OSError as error:
        state["errors"].append(type(error).__name__)
        raise
    finally:
        state["closed"] += 1
    return []


def file(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(environ["QUERY_STRING"], "rb"))


def digest(environ, start_response):
    found = hashlib.sha256()
    while block := environ["wsgi.input"].read(1 << 16):
        found.update(block)
    start_response("200 OK", [])
    return [found.hexdigest().encode()]


def slow(environ, start_response):
    """Its second piece takes until the file is there."""
    start_response("200 OK", [])
    yield b"first"
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.002)
    yield b"second"


def named(environ, start_response):
    """Pieces that are made in turn with those of others."""
    who.set(environ["QUERY_STRING"])
    start_response("200 OK", [])
    for _ in range(40):
        time.sleep(0)
        yield who.get().encode() + b" " + MIB[:200_000]


def some(environ, start_response):
    start_response("200 OK", [])
    return [MIB[:50_000]]


def late(environ, start_response):
    """Its body begins after so many empty pieces."""
    for _ in range(int(environ["QUERY_STRING"])):
        yield b""
    start_response("200 OK", [])
    yield b"late, "
    yield who.get().encode()


def undecided(environ, start_response):
    """Yields empty parts for ever."""
    start_response("200 OK", [])
    try:
        while True:
            asyncio._get_running_loop() and state["errors"].append("inside of a loop")
            yield b""
    finally:
        state["closed"] += 1


def hold(environ, start_response):
    """Waits for the file, in some thread that makes one of its own."""
    open(environ["QUERY_STRING"] + threading.current_thread().name, "w").close()
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.002)
    start_response("200 OK", [])
    return [threading.current_thread().name.encode()]


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    return globals()[{"state": "state_"}.get(name, name)](environ, start_response)


class SlowToClose:
    """Its `close` waits until the file `go` is in `directory`, and then leaves one there."""

    def __iter__(self):
        return iter([b"served"])

    def close(self):
        while not os.path.exists(f"{PARAMETERS['directory']}/go"):
            time.sleep(0.002)
        open(f"{PARAMETERS['directory']}/closed", "w").close()


def lingering(environ, start_response):
    start_response("200 OK", [])
    return SlowToClose()
