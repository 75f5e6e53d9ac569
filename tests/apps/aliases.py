"""A server with an alias of its own; responds with what each alias finds."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
pages = kernel.session(
    "PAGES",
    {
        "got_page": lambda request, response, pattern: respond(response),
    },
)
server = HTTPServer(kernel, alias="SHOP", handlers=[{"dir": "^/", "session": "PAGES", "event": "got_page"}])


def respond(response):
    unknown = kernel.find("HTTPD"), kernel.post("HTTPD", "DONE", response)
    response.content = str([kernel.find("SHOP") is server, *unknown])
    assert kernel.post("SHOP", "DONE", response)
