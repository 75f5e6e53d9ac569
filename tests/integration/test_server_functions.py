"""`@server.handle` functions: whatever they return, sync or async, becomes the response."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.apps import APPS
from support.responses import read_all
from support.server import Serve, Server, running

APP = APPS / "server_functions.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(str(APP), "--bind", "127.0.0.1:0") as server:
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
        ("/responds", 200, "text/plain", b"served"),
        ("/stream_by_event", 200, "text/plain", b"one two"),
    ],
)
def test_what_a_function_returns_is_the_response(
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


def test_a_second_response_is_an_error_and_the_first_one_stands(server: Server) -> None:
    assert server.get("/responds_twice") == b"first"
    server.wait_log("handler function.responds_twice: the response was already sent")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/int", "handler function.wrong_type: the handler returned int: expected str, bytes, dict, list"),
        ("/async/int", "handler function.async_wrong_type: the handler returned int: expected str"),
        ("/unserializable", "TypeError: Object of type object is not JSON serializable"),
        ("/wrong_first_piece", "handler function.wrong_first_piece: content is int: expected str or bytes"),
    ],
)
def test_what_is_no_response_is_a_500_and_an_error(server: Server, path: str, complaint: str) -> None:
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
    server = serve(APPS / "reversed_handlers.py")
    assert server.get("/a") == b"event"
    assert server.get("/b") == b"function"
    assert server.get("/a") == b"function"
