"""`@server.handle` functions: whatever they return, sync or async, becomes the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.responses import read_all
from support.server import Serve, Server, running, write_app

APP = r"""
    import asyncio
    from prefork import HTTPServer, Kernel

    kernel = Kernel()
    server = HTTPServer(kernel)

    @server.handle("^/str$")
    def text():
        return "täxt"

    @server.handle("^/bytes")
    def octets(response):
        response.content_type = "image/gif"
        return b"GIF89a"

    @server.handle("^/dict")
    def mapping():
        return {"a": [1, None, "ü"]}

    @server.handle("^/list")
    def sequence(response):
        response.code = 203
        return [1, 2]

    @server.handle("^/none$")
    def nothing():
        pass

    @server.handle("^/filled")
    def filled(response):
        response.code = 404
        response.content = "not here"

    @server.handle("^/group/(?P<name>[a-z]+)(/(?P<number>[0-9]+))?")
    def group(name, number, request, match):
        return [name, number, request.path, match.group(0)]

    @server.handle("^/async/str")
    async def async_text():
        await asyncio.sleep(0)
        return "later"

    @server.handle("^/async/none")
    async def async_nothing(response):
        await asyncio.sleep(0)
        response.content = "filled later"

    @server.handle("^/async/generator")
    async def async_generator(response):
        response.code = 202
        response.content_type = "text/csv"
        for number in range(3):
            yield f"{number},"
            await asyncio.sleep(0)

    @server.handle("^/async/returns_generator")
    async def returns_generator():
        return (piece for piece in ("a", "b"))

    @server.handle("^/generator")
    def generator():
        yield "one "
        yield b"two "
        yield ""
        yield "three"

    @server.handle("^/no_piece")
    def no_piece(response):
        response.code = 404
        response.content = "a stream is its pieces alone"
        yield from ()

    @server.handle("^/writes")
    def writes(response):
        response.write("one ")
        response.write("two")

    @server.handle("^/answers$")
    def answers(response):
        response.content = "answered"
        response.done()

    @server.handle("^/closes")
    def closes(response):
        response.close()

    @server.handle("^/answers_twice")
    def answers_twice(response):
        response.content = "first"
        response.done()
        return "second"

    @server.handle("^/stream_by_event")
    def by_event(response):
        response.stream("PAGES", "piece")
        response.content = "one "
        kernel.post("HTTPD", "STREAM", response)

    def piece(response):
        if response.content == "two":
            response.done()
        else:
            response.content = "two"
            kernel.post("HTTPD", "STREAM", response)

    kernel.session("PAGES", {"piece": piece})

    @server.handle("^/int")
    def wrong_type():
        return 7

    @server.handle("^/async/int")
    async def async_wrong_type():
        return 7

    @server.handle("^/unserializable")
    def unserializable():
        return {"a": object()}

    @server.handle("^/wrong_first_piece")
    def wrong_first_piece():
        yield 7

    @server.handle("^/wrong_second_piece")
    def wrong_second_piece():
        yield "good"
        yield 7
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = write_app(tmp_path_factory.mktemp("functions"), APP)
    with running(str(path), "--bind", "127.0.0.1:0") as server:
        yield server


@pytest.mark.parametrize(
    ("path", "status", "content_type", "content"),
    [
        ("/str", 200, "text/plain; charset=utf-8", "täxt".encode()),
        ("/bytes", 200, "image/gif", b"GIF89a"),
        ("/list", 203, "application/json", b"[1, 2]"),
        ("/none", 200, "text/plain", b""),
        ("/filled", 404, "text/plain", b"not here"),
        ("/async/str", 200, "text/plain", b"later"),
        ("/async/none", 200, "text/plain", b"filled later"),
        ("/async/generator", 202, "text/csv", b"0,1,2,"),
        ("/async/returns_generator", 200, "text/plain", b"ab"),
        ("/generator", 200, "text/plain", b"one two three"),
        ("/no_piece", 404, "text/plain", b""),
        ("/writes", 200, "text/plain", b"one two"),
        ("/answers", 200, "text/plain", b"answered"),
        ("/stream_by_event", 200, "text/plain", b"one two"),
    ],
)
def test_what_a_function_returns_is_the_answer(
    server: Server, path: str, status: int, content_type: str, content: bytes
) -> None:
    found, fields, body = server.request(path)
    assert (found, fields["content-type"], body) == (status, content_type, content)


def test_a_dict_is_sent_as_json(server: Server) -> None:
    _, fields, body = server.request("/dict")
    assert fields["content-type"] == "application/json"
    assert json.loads(body) == {"a": [1, None, "ü"]}


def test_groups_of_the_pattern_are_parameters(server: Server) -> None:
    assert json.loads(server.get("/group/a/7")) == ["a", "7", "/group/a/7", "/group/a/7"]
    assert json.loads(server.get("/group/b")) == ["b", None, "/group/b", "/group/b"]


def test_a_generator_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0(server: Server) -> None:
    assert server.request("/generator")[1]["transfer-encoding"] == "chunked"
    received = server.raw(b"GET /generator HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding" not in received
    assert received.endswith(b"\r\n\r\none two three")


def test_the_head_of_a_generator_has_no_body(server: Server) -> None:
    received = server.raw(b"HEAD /generator HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")


def test_a_function_may_close(server: Server) -> None:
    assert server.raw(b"GET /closes HTTP/1.1\r\nHost: a\r\n\r\n") == b""


def test_a_second_answer_is_an_error_and_the_first_one_stands(server: Server) -> None:
    assert server.get("/answers_twice") == b"first"
    server.wait_log("handler function.answers_twice: this response was answered before")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/int", "handler function.wrong_type: the handler returned int: expected str, bytes, dict, list"),
        ("/async/int", "handler function.async_wrong_type: the handler returned int: expected str"),
        ("/unserializable", "TypeError: Object of type object is not JSON serializable"),
        ("/wrong_first_piece", "handler function.wrong_first_piece: content is int: expected str or bytes"),
    ],
)
def test_what_is_no_answer_is_a_500_and_an_error(server: Server, path: str, complaint: str) -> None:
    status, fields, body = server.request(path)
    assert (status, fields["content-type"], body) == (500, "text/plain", b"500 Internal Server Error")
    server.wait_log(complaint)


def test_a_wrong_piece_ends_the_stream_so_that_the_client_can_tell(server: Server) -> None:
    received = server.raw(b"GET /wrong_second_piece HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n4\r\ngood\r\n")
    server.wait_log("handler function.wrong_second_piece: content is int")


def test_no_handler_is_a_404(server: Server) -> None:
    status, fields, body = server.request("/nowhere")
    assert (status, fields["content-type"], body) == (404, "text/plain", b"404 Not Found")


def test_no_handler_reads_no_body(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(
            b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_all(sock).startswith(b"HTTP/1.1 404 ")


def test_functions_and_events_share_one_list_in_order(serve: Serve) -> None:
    server = serve("""
        from prefork import HTTPServer, Kernel

        def page(request, response, pattern):
            response.content = "event"
            response.done()

        kernel = Kernel()
        kernel.session("PAGES", {"page": page})
        server = HTTPServer(kernel, handlers=[{"dir": "^/a", "session": "PAGES", "event": "page"}])

        @server.handle("^/")
        def function():
            if len(server.get_handlers()) == 2:
                server.set_handlers(reversed(server.get_handlers()))
            return "function"
    """)
    assert server.get("/a") == b"event"
    assert server.get("/b") == b"function"
    assert server.get("/a") == b"function"
