"""Hooks that are functions."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

heard = []


async def log2(request, response):
    heard.append(f"log2 {request.path}")


kernel = Kernel()
server = HTTPServer(
    kernel,
    log_handler=lambda request, remote_ip: heard.append(f"log {request.path}"),
    log2_handler=log2,
    setup_handler=lambda port, address: heard.append(f"setup {address}"),
)


@server.handle("^/")
def tell():
    return heard
