"""A server that may have few descriptors."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle(r"^/body$")
def body(request):
    return str(len(request.content))


@server.handle(r"")
def hello():
    return "hello"
