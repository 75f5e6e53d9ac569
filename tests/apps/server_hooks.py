"""Shows what its hooks were called with. `parameters`: the `hooks`, by name, and whether there is a handler
of `malformed` requests.
"""

from __future__ import annotations

from typing import Any

from parameters import PARAMETERS

from prefork import HTTPServer, Kernel, Session, event

recorded: list[object] = []


class Ears(Session):
    alias = "EARS"

    @event
    def log(self, request, remote_ip):
        recorded.append(["log", request and request.path, remote_ip])

    @event
    def log2(self, request, response):
        recorded.append(["log2", request and request.path, response.code, response.answered])

    @event
    def setup(self, port, address):
        recorded.append(["setup", port, address])

    @event
    def error(self, text, remote_ip):
        recorded.append(["error", text, remote_ip])

    @event
    def broken(self, *args):
        raise ValueError("a hook that fails")


class Pages(Session):
    alias = "PAGES"

    @event
    def page(self, request, response, pattern):
        recorded.append(["handler", request.path])
        response.content = "page"
        response.done()

    @event
    def piece(self, response):
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def stream(self, request, response, pattern):
        response.stream("PAGES", "piece")
        response.content = "piece"
        self.kernel.post("HTTPD", "STREAM", response)

    @event
    def malformed(self, request, response, pattern):
        response.done()

    @event
    def close(self, request, response, pattern):
        response.close()

    @event
    def wait(self, request, response, pattern):
        recorded.append(["waiting", response.connection.dead])
        request.connection.when_closed(lambda: self.left(response))

    def left(self, response):
        recorded.append(["dead", response.connection.dead])
        response.done()


kernel = Kernel()
kernel.add(Ears())
kernel.add(Pages())
hooks: dict[str, Any] = {
    f"{name}_handler": ("EARS", event) for name, event in PARAMETERS.get("hooks", {}).items()
}
server = HTTPServer(
    kernel,
    **hooks,
    handlers=[
        *(
            {"dir": f"^/{name}", "session": "PAGES", "event": name}
            for name in ("page", "stream", "close", "wait")
        ),
        *(
            [{"dir": "^$", "session": "PAGES", "event": "malformed", "malformed": True}]
            if PARAMETERS.get("malformed")
            else []
        ),
    ],
)


@server.handle("^/recorded$")
def tell():
    reported = recorded[:]
    recorded.clear()
    return reported


@server.handle("^/generator$")
async def generator():
    yield "one"
    yield "two"


@server.handle("^/fails$")
def fails():
    raise ValueError("a handler that fails")


@server.handle("^/forgets$")
async def forgets(request, response):
    response.stream("PAGES", "piece")
