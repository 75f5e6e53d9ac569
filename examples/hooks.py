"""The four hooks of a server, as events of one session.

    prefork serve examples/hooks.py
    curl http://127.0.0.1:8000/hello

A hook can also be a plain function. Both can be `async`.
"""

import logging

from prefork import HTTPServer, Kernel, Session, event

log = logging.getLogger("example")
logging.basicConfig(level=logging.INFO, format="%(message)s")


class Log(Session):
    alias = "LOG"

    @event
    def listening(self, port, address):
        log.info("listening: port %s of %s", port, address)

    @event
    def received(self, request, remote_ip):
        """Before the handler. A malformed request is None."""
        log.info("received: %s from %s", request and request.uri, remote_ip)

    @event
    def responded(self, request, response):
        """After the response; for a stream, after its last part."""
        path = request.path if request else "a malformed request"
        log.info("responded: %s with %s", path, response.code)

    @event
    def went_wrong(self, text, remote_ip):
        log.info("went wrong: %s (client %s)", text, remote_ip)


kernel = Kernel()
kernel.add(Log())
server = HTTPServer(
    kernel,
    setup_handler=("LOG", "listening"),
    log_handler=("LOG", "received"),
    log2_handler=("LOG", "responded"),
    error_handler=("LOG", "went_wrong"),
)


@server.handle("^/hello$")
def hello():
    return "Hello\n"


@server.handle("^/stream$")
async def stream():
    yield "Hello, "
    yield "stream\n"


@server.handle("^/wrong$")
def wrong():
    return 1 / 0
