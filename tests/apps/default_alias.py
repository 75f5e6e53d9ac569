"""A server without an alias of its own."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle("^/")
def found():
    return str(kernel.find("HTTPD") is server)
