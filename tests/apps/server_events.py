"""Every event that the server has, posted by a handler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from prefork import HTTPServer, Kernel, Session, event

recorded: list[object] = []
trace: ContextVar[str] = ContextVar("trace")


class Pages(Session):
    alias = "PAGES"

    @event
    def _start(self):
        trace.set("of the program")

    def act(self, how, name, *args):
        if how == "event":
            assert self.kernel.post("HTTPD", name, *args)
        elif how == "call":
            self.kernel.call("HTTPD", name, *args)
        else:
            METHODS[name](*args)

    @event
    def done(self, request, response, pattern):
        response.code = 201
        response.content = "done"
        self.act(request.match["how"], "DONE", response)

    @event
    def close(self, request, response, pattern):
        self.act(request.match["how"], "CLOSE", response)

    @event
    def stream(self, request, response, pattern):
        self.pieces = [f"piece {number}\n" for number in range(3)]
        response.stream("PAGES", "piece", dont_flush=request.query == "dont_flush")
        self.piece(response)

    @event
    def piece(self, response):
        how = response.request.match["how"]
        recorded.append("piece")
        if self.pieces:
            response.content = self.pieces.pop(0)
            self.act(how, "STREAM", response)
            if response.streams[2]:
                self.post("piece", response)
        else:
            self.act(how, "DONE", response)

    @event
    def last(self, request, response, pattern):
        response.stream("PAGES", "last_piece")
        response.content = "only"
        self.act(request.match["how"], "STREAM", response)

    @event
    def last_piece(self, response):
        self.act(response.request.match["how"], "CLOSE", response)

    @event
    def done_and_close(self, request, response, pattern):
        response.content = "whole"
        self.act(request.match["how"], "DONE", response)
        self.act(request.match["how"], "CLOSE", response)

    @event
    def values(self, request, response, pattern):
        connection = request.connection
        response.stream("PAGES", "last_piece", dont_flush=True)
        response.content = "part"
        calls: list[tuple[Any, ...]] = [
            ("STREAM", response),
            ("GETHANDLERS", "PAGES", "ignore"),
            ("GETHANDLERS", "PAGES", "no such event"),
            ("SETCLOSEHANDLER", connection, "PAGES", "closed"),
            ("SETCLOSEHANDLER", connection.id, "PAGES"),
            ("SETCLOSEHANDLER", 12345, "PAGES", "closed"),
            ("SETHANDLERS", server.get_handlers()),
            ("STARTLISTEN",),
            ("STOPLISTEN",),
            ("STOPLISTEN",),
            ("STARTLISTEN",),
        ]
        response.content = json.dumps([self.kernel.call("HTTPD", *each) for each in calls])
        self.kernel.call("HTTPD", "STREAM", response)
        recorded.append(self.kernel.call("HTTPD", "DONE", response))
        recorded.append(self.kernel.call("HTTPD", "CLOSE", response))

    @event
    def ignore(self, *args):
        pass

    @event
    def twice(self, request, response, pattern):
        response.content = "once"
        self.act(request.match["how"], "DONE", response)
        self.act(request.match["how"], "DONE", response)

    @event
    def watch(self, request, response, pattern):
        number = request.connection.id
        for connection, session, who in (
            (number, "PAGES", "replaced"),
            (request.connection, "PAGES", "first"),
            (number, "OTHER", "second"),
        ):
            arguments = (connection, session, "closed", who, request.query)
            self.act(request.match["how"], "SETCLOSEHANDLER", *arguments)
        response.content = str(request.connection.id)
        response.done()

    @event
    def unwatch(self, request, response, pattern):
        self.act(request.match["how"], "SETCLOSEHANDLER", int(request.query), "PAGES")
        response.done()

    @event
    def closed(self, *args):
        recorded.append(args)

    @event
    def get_handlers(self, request, response, pattern):
        self.waiting = response
        if request.match["how"] == "event":
            self.kernel.post("HTTPD", "GETHANDLERS", "PAGES", "got_handlers")
        else:
            self.got_handlers(server.get_handlers())

    @event
    def got_handlers(self, handlers):
        self.waiting.content = json.dumps(handlers)
        self.waiting.done()
        handlers.pop()
        handlers[0]["dir"] = "changed in the copy only"

    @event
    def set_handlers(self, request, response, pattern):
        handlers = [{"dir": "^/new", "session": "PAGES", "event": "new"}]
        self.act(request.match["how"], "SETHANDLERS", handlers)
        response.done()

    @event
    def set_wrong(self, request, response, pattern):
        try:
            server.set_handlers(json.loads(request.content))
        except Exception as error:
            response.content = f"{type(error).__name__}: {error}"
        response.done()

    @event
    def new(self, request, response, pattern):
        response.content = pattern
        response.done()

    @event
    def traced(self, request, response, pattern):
        self.trace(request.query)
        self.post("traced_later", response)

    @event
    async def traced_in_task(self, request, response, pattern):
        await asyncio.sleep(0)
        self.traced(request, response, pattern)

    @event
    def traced_later(self, response):
        self.trace("of an event")
        response.done()

    def trace(self, value):
        recorded.append(trace.get())
        trace.set(value)

    @event
    def recorded(self, request, response, pattern):
        response.content = json.dumps(recorded)
        recorded.clear()
        response.done()


kernel = Kernel()
kernel.add(Pages())
kernel.session("OTHER", {"closed": lambda *args: recorded.append(args)})
names = [
    "done",
    "close",
    "stream",
    "last",
    "done_and_close",
    "values",
    "twice",
    "watch",
    "unwatch",
    "get_handlers",
    "set_handlers",
    "set_wrong",
    "traced",
    "traced_in_task",
    "recorded",
]
server = HTTPServer(
    kernel,
    handlers=[
        {"dir": rf"^/(?P<how>event|call|method)/{name}$", "session": "PAGES", "event": name} for name in names
    ],
)
METHODS: dict[str, Callable[..., object]] = {
    "DONE": server.done,
    "CLOSE": server.close,
    "STREAM": server.stream,
    "SETCLOSEHANDLER": server.set_close_handler,
    "SETHANDLERS": server.set_handlers,
}
