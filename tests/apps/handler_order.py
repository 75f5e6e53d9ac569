"""Handlers of which more than one matches."""

from __future__ import annotations

from prefork import HTTPServer, Kernel, Session, event


class Pages(Session):
    alias = "PAGES"

    @event
    def first(self, request, response, pattern):
        response.content = f"first {pattern}"
        response.done()

    @event
    def second(self, request, response, pattern):
        response.content = f"second {pattern}"
        response.done()


kernel = Kernel()
kernel.add(Pages())
server = HTTPServer(
    kernel,
    handlers=[
        {"dir": r"^/a/.*", "session": "PAGES", "event": "first"},
        {"dir": r"b$", "session": "PAGES", "event": "second"},
        {"dir": r"/", "session": "PAGES", "event": "first"},
    ],
)
