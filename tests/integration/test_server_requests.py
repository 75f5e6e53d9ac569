"""What a handler sees of a request and its connection, and what a client gets of a response."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.responses import read_all, read_response
from support.server import Serve, Server, running
from support.waiting import wait_until

APP = APPS / "server_requests.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(str(APP), "--bind", "127.0.0.1:0", "--spool-above", "1k") as server:
        yield server


def ask(server: Server, path: str, *args: Any, **options: Any) -> Any:
    status, fields, body = server.request(path, *args, **options)
    assert (status, fields["content-type"]) == (200, "application/json"), body
    return json.loads(body)


def test_a_request_has_method_uri_path_query_protocol_and_match(server: Server) -> None:
    about = ask(server, "/about/J%c3%bcrgen%2f?q=%20&r", "PURGE")
    assert about["method"] == "PURGE"
    assert about["uri"] == f"http://127.0.0.1:{server.port}/about/J%c3%bcrgen%2f?q=%20&r"
    assert about["path"] == "/about/Jürgen/"
    assert about["raw_path"] == "/about/J%c3%bcrgen%2f"
    assert about["query"] == "q=%20&r"
    assert about["protocol"] == "HTTP/1.1"
    assert about["match"] == "Jürgen"
    assert about["same_match"]
    assert about["remote_ip"] == "127.0.0.1"


def test_a_request_without_query_and_body_has_empty_ones(server: Server) -> None:
    about = ask(server, "/about/")
    assert (about["query"], about["content"], about["content_length"]) == ("", "", 0)
    assert (about["content_type"], about["basic"]) == (None, None)


def test_an_http_1_0_request_says_so(server: Server) -> None:
    received = server.raw(b"GET /about/ HTTP/1.0\r\n\r\n")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["protocol"] == "HTTP/1.0"


def test_a_request_has_content(server: Server) -> None:
    about = ask(server, "/about/", "POST", "grüße".encode(), headers={"Content-Type": "text/plain"})
    assert (about["content"], about["content_length"], about["content_type"]) == ("grüße", 7, "text/plain")


def test_chunked_content_is_put_together(server: Server) -> None:
    about = ask(server, "/about/", "POST", iter([b"one ", b"two"]))
    assert (about["content"], about["content_length"]) == ("one two", 7)


def test_a_request_has_multi_valued_headers_without_case(server: Server) -> None:
    received = server.raw(
        b"GET /headers HTTP/1.1\r\nHost: a\r\nX-First: one\r\nx-first:  two \r\nConnection: close\r\n\r\n"
    )
    found = json.loads(received.partition(b"\r\n\r\n")[2])
    assert found["items"] == [["Host", "a"], ["X-First", "one"], ["x-first", "two"], ["Connection", "close"]]
    assert (found["first"], found["all"], found["none"]) == ("one", ["one", "two"], [None, "default"])


def test_authorization_basic_is_user_and_password(server: Server) -> None:
    token = base64.b64encode("jürgen:pass:word".encode()).decode()
    about = ask(server, "/about/", headers={"Authorization": f"Basic {token}"})
    assert about["basic"] == ["jürgen", "pass:word"]
    assert ask(server, "/about/", headers={"Authorization": "Basic ???"})["basic"] is None


def test_json_reads_the_body(server: Server) -> None:
    assert ask(server, "/json", "POST", b'{"a": [1, null]}') == {"json": {"a": [1, None]}}


def test_json_that_is_none_is_the_handlers_error(server: Server) -> None:
    assert server.request("/json", "POST", b"{")[0] == 500
    server.wait_log("JSONDecodeError")


def test_form_reads_a_urlencoded_body(server: Server) -> None:
    form = ask(
        server,
        "/form",
        "POST",
        "a=1&b=%C3%BC+x&a=2&c=",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert form == {"a": ["1", "2"], "b": ["ü x"], "c": [""]}


def test_form_reads_a_multipart_body_with_a_file(server: Server) -> None:
    body = (
        '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--x\r\nContent-Disposition: form-data; name="f"; filename="résumé.txt"\r\n'
        "Content-Type: text/plain\r\n\r\nlines\r\n--\r\n\r\n--x--\r\n"
    )
    form = ask(
        server, "/form", "POST", body.encode(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert form == {"a": ["1"], "f": [["résumé.txt", "text/plain", "lines\r\n--\r\n"]]}


def test_a_large_body_is_a_file(server: Server) -> None:
    assert ask(server, "/body", "POST", b"x" * 1000) == {"length": 1000, "on_disk": False}
    assert ask(server, "/body", "POST", b"x" * 100_000) == {"length": 100_000, "on_disk": True}


def test_a_connection_has_two_addresses_and_an_id(server: Server) -> None:
    with server.connect() as sock:
        numbers = set()
        for _ in range(2):
            sock.sendall(b"GET /connection HTTP/1.1\r\nHost: a\r\n\r\n")
            found = json.loads(read_response(sock)[2])
            numbers.add(found["id"])
            assert found["remote"] == [*sock.getsockname(), [127, 0, 0, 1]]
            assert found["local"] == [*sock.getpeername(), [127, 0, 0, 1]]
            assert found["dead"][-1] is False
            assert found["ssl"] == [False, None]
        assert len(numbers) == 1
    assert ask(server, "/connection")["id"] not in numbers


def test_a_connection_that_ended_is_dead(server: Server) -> None:
    before = len(ask(server, "/connection")["dead"])
    wait_until(lambda: ask(server, "/connection")["dead"][before - 1])


def test_a_connection_over_a_unix_socket_has_no_ip(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, "--bind", f"unix:{tmp_path / 'sock'}")
    found = json.loads(server.raw(b"GET /connection HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert found["remote"] == ["unix", 0, None]
    assert found["local"] == ["unix", 0, None]


def test_a_response_has_code_and_content(server: Server) -> None:
    status, fields, body = server.request("/respond/content")
    assert (status, body.decode()) == (418, "grüße")
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["content-length"] == "7"


def test_a_response_may_be_bytes_of_a_type(server: Server) -> None:
    _, fields, body = server.request("/respond/bytes")
    assert (fields["content-type"], body) == ("application/octet-stream", bytes(range(256)))


def test_a_response_has_multi_valued_headers(server: Server) -> None:
    received = server.raw(b"GET /respond/headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in received
    assert b"\r\nx-one: second\r\n" in received
    assert received.count(b"Date: ") == received.count(b"Date: Thu, 01 Jan 1970") == 1
    assert received.endswith(b"Content-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("target", ["/respond/content", "/respond/200"])
def test_head_has_the_headers_and_no_body(server: Server, target: str) -> None:
    with server.connect() as sock:
        sock.sendall(f"HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: 7" in head


@pytest.mark.parametrize("code", [204, 304])
def test_204_and_304_send_no_body(server: Server, code: int) -> None:
    request = f"GET /respond/{code} HTTP/1.1\r\nHost: a\r\n\r\nGET /respond/200 HTTP/1.0\r\n\r\n"
    received = server.raw(request.encode())
    first, _, rest = received.partition(b"\r\n\r\n")
    assert first.startswith(f"HTTP/1.1 {code} ".encode())
    assert b"Content-Type" not in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\ncontent")


def test_the_protocol_of_the_response_is_ours(server: Server) -> None:
    with server.connect() as sock:
        assert sock.family == socket.AF_INET
        sock.sendall(b"GET /respond/200 HTTP/1.0\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK\r\n")
