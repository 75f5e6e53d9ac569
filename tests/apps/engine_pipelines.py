"""Handlers for requests that are sent ahead of their responses."""

from __future__ import annotations

import asyncio
import time

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)
served = 0


def count():
    global served
    served += 1


@server.handle(r"^/count$")
def reported():
    return str(served)


@server.handle(r"^/echo/(?P<number>\d+)$")
def echo(number):
    count()
    return number


@server.handle(r"^/later/(?P<number>\d+)$")
async def later(number):
    await asyncio.sleep(0.001 if int(number) % 2 else 0)
    return number


@server.handle(r"^/held$")
async def held():
    await asyncio.sleep(0.1)
    return "held"


gate = asyncio.Event()


@server.handle(r"^/gate$")
async def gated():
    await gate.wait()
    return "gate"


@server.handle(r"^/gate_stream$")
async def gated_stream():
    yield "gate"
    await gate.wait()
    yield "_stream"


@server.handle(r"^/open$")
def open_gate():
    gate.set()


@server.handle(r"^/slow$")
def slow():
    count()
    time.sleep(0.02)
    return "slow"


@server.handle(r"^/large$")
def large():
    count()
    return b"x" * 10_000


@server.handle(r"^/never$")
async def never():
    await asyncio.Event().wait()


@server.handle(r"^/huge$")
def huge():
    return b"x" * 50_000_000
