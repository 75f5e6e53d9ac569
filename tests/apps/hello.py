"""The smallest program."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle(r"^/hello/(?P<name>\w+)$")
def hello(name):
    return f"hello {name}"
