"""The synopsis: four handlers in front of a pool of ten workers.

    prefork serve examples/synopsis.py --bind 127.0.0.1:8080

An event responds at any time, by posting DONE to the server or by `response.done()`, which is the same.
"""

import os

from prefork import Kernel, PreForkServer, Session, event


class Pages(Session):
    alias = "HTTP_GET"

    @event
    def forked(self):
        """Called in every worker before it accepts: the place to open a database."""
        self.worker = os.getpid()

    @event
    def got_bar(self, request, response, _pattern):
        response.code = 200
        response.content = f"Hi, you fetched {request.uri}\n"
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def got_main(self, _request, response, _pattern):
        response.content_type = "text/html; charset=utf-8"
        response.content = (
            "<!doctype html><title>prefork</title>"
            f'<p>Worker {self.worker} says hello. <a href="/bar/1">Fetch /bar/1</a>.</p>\n'
        )
        response.done()

    @event
    def got_null(self, _request, response, _pattern):
        """Closes the connection without a response."""
        self.kernel.post("HTTPD", "CLOSE", response)

    @event
    def got_error(self, request, response, _pattern):
        response.code = 404
        response.content = f"Hi visitor from {request.remote_ip}, there is no {request.path}\n"
        response.done()


kernel = Kernel()
kernel.add(Pages())
server = PreForkServer(
    kernel,
    alias="HTTPD",
    address="127.0.0.1",
    port=11111,
    handlers=[
        {"dir": r"^/bar/.*", "session": "HTTP_GET", "event": "got_bar"},
        {"dir": r"^/$", "session": "HTTP_GET", "event": "got_main"},
        {"dir": r"^/foo/.*", "session": "HTTP_GET", "event": "got_null"},
        {"dir": r".*", "session": "HTTP_GET", "event": "got_error"},
    ],
    fork_handlers={"HTTP_GET": "forked"},
    min_spare_servers=5,
    max_spare_servers=10,
    max_clients=256,
    start_servers=10,
)

if __name__ == "__main__":
    kernel.run()
