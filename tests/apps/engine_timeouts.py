"""Handlers for clients that send or read slowly."""

from __future__ import annotations

import asyncio
import json

from prefork import HTTPServer, Kernel

kernel = Kernel()
troubles = []
server = HTTPServer(kernel, error_handler=lambda *about: troubles.append(about))
pulled = 0
closed = 0
HUGE = b"0123456789" * 10_000_000


@server.handle(r"^/troubles$")
def reported():
    return json.dumps(troubles)


@server.handle(r"^/hello$")
def hello():
    return "hello"


@server.handle(r"^/huge$")
def huge():
    return HUGE


@server.handle(r"^/rare$")
async def rare():
    await asyncio.sleep(0.6)
    yield "one"
    await asyncio.sleep(0.6)
    yield "two"


@server.handle(r"^/pulled$")
def how_many():
    return json.dumps([pulled, closed])


@server.handle(r"^/async$")
async def asynchronous():
    global pulled, closed
    try:
        for number in range(1600):
            pulled += 1
            yield bytes([number % 256]) * 65536
    finally:
        closed += 1


@server.handle(r"^/sync$")
def synchronous():
    global pulled, closed
    try:
        for number in range(1600):
            pulled += 1
            yield bytes([number % 256]) * 65536
    finally:
        closed += 1
