"""A hook whose session is removed by the first request."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
ears = kernel.session("EARS", {"log": print})
server = HTTPServer(kernel, log_handler=("EARS", "log"))


@server.handle("^/")
def remove():
    if kernel.find("EARS"):
        kernel.remove(ears)
    return "removed"
