"""The first things that anybody tries."""

from __future__ import annotations

from support.server import Serve

HELLO = """
    from prefork import HTTPServer, Kernel

    kernel = Kernel()
    server = HTTPServer(kernel)

    @server.handle(r"^/hello/(?P<name>\\w+)$")
    def hello(name):
        return f"hello {name}"
"""


def test_a_function_answers(serve: Serve) -> None:
    server = serve(HELLO)
    assert server.get("/hello/world") == b"hello world"
    status, _, body = server.request("/elsewhere")
    assert (status, body) == (404, b"404 Not Found")
    assert server.stop() == 0
