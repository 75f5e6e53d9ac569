"""Responds with the addresses of both ends of a connection; `parameters` are options of the server."""

from __future__ import annotations

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel, **PARAMETERS)


@server.handle(r"")
def who(request):
    connection = request.connection
    return f"{request.remote_ip} {connection.local_ip} {len(request.content)}"
