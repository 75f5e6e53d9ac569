"""The pool's application with a session that is never still: a post, a timer, a task and sockets."""

from __future__ import annotations

import asyncio
import os

from pool_app import kernel, pages, server

from prefork import Session, event

__all__ = ["kernel", "pages", "server"]


class Beat(Session):
    alias = "BEAT"

    def __init__(self):
        self.beats = 0
        self.ticks = 0
        self.rang: list[tuple[int, int]] = []

    @event
    async def _start(self):
        self.post("beat")
        self.delay("ring", 0.02, os.getpid())
        listener = await asyncio.start_server(self.echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        while True:
            writer.write(b"tick")
            await reader.readexactly(4)
            self.ticks += 1
            await asyncio.sleep(0.001)

    async def echo(self, reader, writer):
        while data := await reader.read(100):
            writer.write(data)

    @event
    def beat(self):
        self.beats += 1
        self.kernel.delay(0.001, "BEAT", "beat")

    @event
    def ring(self, pid):
        self.rang.append((pid, os.getpid()))
        self.delay("ring", 0.02, os.getpid())


pages.names["beat"] = kernel.add(Beat())
