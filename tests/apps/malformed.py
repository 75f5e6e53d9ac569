"""Handlers for malformed requests; the parameter `event` names the one that is found."""

from __future__ import annotations

import asyncio

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel, Session, event


class Pages(Session):
    alias = "PAGES"

    @event
    def page(self, request, response, pattern):
        response.content = f"page {request.path}"
        response.done()

    @event
    async def wrong(self, request, response, pattern):
        await asyncio.sleep(0)
        ip = response.connection.remote_ip
        response.content = f"{response.code} for {request} by {pattern} at {ip}"
        response.done()

    @event
    def raises(self, request, response, pattern):
        raise ValueError("not again")


kernel = Kernel()
kernel.add(Pages())
server = HTTPServer(
    kernel,
    handlers=[
        {"dir": "^/a|^$", "session": "PAGES", "event": "page"},
        {"dir": "never", "session": "PAGES", "event": "raises", "malformed": True},
        {"dir": "^$|^/b", "session": "PAGES", "event": PARAMETERS["event"], "malformed": True},
        {"dir": "", "session": "PAGES", "event": "page"},
    ],
)
