"""Handlers that do wrong."""

from __future__ import annotations

import asyncio

from prefork import HTTPServer, InvalidResponse, Kernel, Session, event

errors = []
kept: list[object] = []


class Pages(Session):
    alias = "PAGES"

    @event
    def raises(self, request, response, pattern):
        response.headers["X-Half"] = "done"
        raise ValueError("a handler that fails")

    @event
    async def async_raises(self, request, response, pattern):
        await asyncio.sleep(0)
        raise ValueError("an async handler that fails")

    @event
    def cancelled(self, request, response, pattern):
        raise asyncio.CancelledError

    @event
    def raises_after(self, request, response, pattern):
        response.content = "served"
        response.done()
        raise ValueError("after its response")

    @event
    def forgets(self, request, response, pattern):
        pass

    @event
    async def async_forgets(self, request, response, pattern):
        await asyncio.sleep(0)

    @event
    def in_a_cycle(self, request, response, pattern):
        cycle = [response]
        cycle.append(cycle)

    @event
    def later(self, request, response, pattern):
        kept.append(response)
        self.kernel.delay(0.01, "PAGES", "drop")

    @event
    def drop(self):
        kept.clear()

    @event
    def evil_header(self, request, response, pattern):
        response.headers["X-Evil"] = "a\r\nSet-Cookie: stolen"
        response.done()

    @event
    def evil_header_posted(self, request, response, pattern):
        response.headers["X-Evil"] = "a\r\nSet-Cookie: stolen"
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def evil_content(self, request, response, pattern):
        response.content = 7
        self.kernel.call("HTTPD", "DONE", response)

    @event
    def mended(self, request, response, pattern):
        response.headers["Bad Name"] = "x"
        try:
            response.done()
        except InvalidResponse as error:
            response.headers = {}
            response.content = str(error)
            response.done()

    @event
    def twice(self, request, response, pattern):
        response.content = "once"
        response.done()
        response.done()


class Guest(Session):
    alias = "GUEST"

    @event
    def page(self, request, response, pattern):
        response.content = "here"
        response.done()


kernel = Kernel()
kernel.add(Pages())
guest = kernel.add(Guest())
names = [name for name, value in vars(Pages).items() if callable(value) and not name.startswith("_")]
server = HTTPServer(
    kernel,
    error_handler=lambda text, remote_ip: errors.append([text, remote_ip]),
    handlers=[
        *({"dir": f"^/{name}$", "session": "PAGES", "event": name} for name in names),
        {"dir": "^/guest$", "session": "GUEST", "event": "page"},
    ],
)


@server.handle("^/function$")
def function():
    raise ValueError("a function that fails")


@server.handle("^/collect$")
def collect():
    import gc

    gc.collect()


@server.handle("^/remove$")
def remove():
    if guest.kernel:
        kernel.remove(guest)


@server.handle("^/errors$")
def tell():
    return errors
