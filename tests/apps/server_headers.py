"""A server with header fields for every response."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel, headers={"Server": "prefork", "X-Frame-Options": "DENY"})


@server.handle("^/plain")
def plain():
    return "plain"


@server.handle("^/own")
def own(response):
    response.header("Server", "mine")


@server.handle("^/stream")
def stream():
    yield "piece"
