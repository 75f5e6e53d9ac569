"""Starts and stops listening on request. With the parameter `hasty` it tries again at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from parameters import PARAMETERS

import prefork.server.listener
from prefork import HTTPServer, Kernel, Session, event

if PARAMETERS.get("hasty"):
    prefork.server.listener.RETRY_S = 0.01


class Pages(Session):
    alias = "PAGES"
    waiting: Any = None

    @event
    def _start(self):
        self.kernel.signal(signal.SIGUSR1, "PAGES", "listen")
        self.kernel.signal(signal.SIGUSR2, "PAGES", "respond")
        self.kernel.signal(signal.SIGWINCH, "PAGES", "unlisten")
        self.kernel.signal(signal.SIGHUP, "PAGES", "tell_later")

    def act(self, how, name, *args):
        if how == "event":
            assert self.kernel.post("HTTPD", name, *args)
        else:
            METHODS[(name, *args)]()

    @event
    def page(self, request, response, pattern):
        response.content = "page"
        response.done()

    @event
    def stop(self, request, response, pattern):
        self.how = request.match["how"]
        self.act(self.how, "STOPLISTEN")
        response.done()

    @event
    def shutdown(self, request, response, pattern):
        self.act(request.match["how"], "SHUTDOWN", *request.query.split())
        response.content = "the last one"
        if request.query:
            response.done()
        else:
            self.last = response  # not sent

    @event
    def listen(self, signum):
        self.act(self.how, "STARTLISTEN")

    @event
    def unlisten(self, signum):
        self.act(self.how, "STOPLISTEN")

    @event
    def tell_later(self, signum):
        self.delay("tell", 0.1)

    @event
    def tell(self):
        print("alias", kernel.find("HTTPD"), flush=True)
        print("later", flush=True)

    @event
    def wait(self, request, response, pattern):
        self.waiting = response
        server.set_close_handler(request.connection, "PAGES", "closed")
        print("waiting", flush=True)

    @event
    def closed(self):
        print("closed", kernel.find("HTTPD"), flush=True)
        self.delay("tell", 0.1)

    @event
    def respond(self, signum):
        self.waiting.content = "late"
        self.waiting.done()

    @event
    def setup(self, port, address):
        print("setup", port, flush=True)


kernel = Kernel()
kernel.add(Pages())
server = HTTPServer(
    kernel,
    setup_handler=("PAGES", "setup"),
    error_handler=lambda text, remote_ip: print("error", text, remote_ip, flush=True),
    handlers=[
        {"dir": "^/page", "session": "PAGES", "event": "page"},
        {"dir": "^/wait", "session": "PAGES", "event": "wait"},
        {"dir": "^/(?P<how>event|method)/stop", "session": "PAGES", "event": "stop"},
        {"dir": "^/(?P<how>event|method)/shutdown", "session": "PAGES", "event": "shutdown"},
    ],
)
METHODS: dict[tuple[str, ...], Callable[[], object]] = {
    ("STARTLISTEN",): server.start_listen,
    ("STOPLISTEN",): server.stop_listen,
    ("SHUTDOWN",): server.shutdown,
    ("SHUTDOWN", "GRACEFUL"): lambda: server.shutdown(graceful=True),
}
