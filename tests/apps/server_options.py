"""A server made with the parameters; it responds with the URI of a request."""

from __future__ import annotations

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel, **PARAMETERS)


@server.handle(r"^/uri")
def uri(request):
    return request.uri


@server.handle(r"^http://|^[^/]+:[0-9]+$")
def proxied(request):
    return f"{request.method} {request.path} {request.uri}"
