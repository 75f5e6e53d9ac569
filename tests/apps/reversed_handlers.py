"""A function and an event that match the same path; the function reverses their order."""

from __future__ import annotations

from prefork import HTTPServer, Kernel


def page(request, response, pattern):
    response.content = "event"
    response.done()


kernel = Kernel()
kernel.session("PAGES", {"page": page})
server = HTTPServer(kernel, handlers=[{"dir": "^/a", "session": "PAGES", "event": "page"}])


@server.handle("^/")
def function():
    if len(server.get_handlers()) == 2:
        server.set_handlers(reversed(server.get_handlers()))
    return "function"
