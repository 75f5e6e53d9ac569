"""Hooks that are functions."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

recorded = []


async def log2(request, response):
    recorded.append(f"log2 {request.path}")


kernel = Kernel()
server = HTTPServer(
    kernel,
    log_handler=lambda request, remote_ip: recorded.append(f"log {request.path}"),
    log2_handler=log2,
    setup_handler=lambda port, address: recorded.append(f"setup {address}"),
)


@server.handle("^/")
def tell():
    return recorded
