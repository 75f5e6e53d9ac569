"""Responds with the address that the client has come to and the worker's pid: as WSGI, ASGI and events."""

from __future__ import annotations

import os
import signal
from typing import Any

from prefork import Kernel, PreForkServer, Session, event


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SERVER_NAME']} {environ['SERVER_PORT']} {os.getpid()}".encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        address, port = scope["server"]
        body = f"{address} {port} {os.getpid()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Control(Session):
    """Opens and closes the listeners by signals, and says which are open."""

    alias = "CONTROL"

    @event
    def _start(self):
        self.kernel.signal(signal.SIGUSR1, "CONTROL", "listen")
        self.kernel.signal(signal.SIGUSR2, "CONTROL", "unlisten")

    @event
    def listen(self, signum):
        print("listen", server.start_listen(), flush=True)

    @event
    def unlisten(self, signum):
        print("unlisten", server.stop_listen(), flush=True)

    @event
    def setup(self, port, address):
        print("setup", port, address, flush=True)

    @event
    def closed(self, port, address):
        print("closed", port, address, flush=True)


kernel = Kernel()
kernel.add(Control())
server = PreForkServer(kernel, setup_handler=("CONTROL", "setup"), closed_handler=("CONTROL", "closed"))


@server.handle(r"")
def who(request):
    return f"{request.uri} {os.getpid()}"
