"""A request as its handler sees it, parsed by a real engine from what a client sent."""

from __future__ import annotations

import base64
import io
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from prefork import Connection, Request, Response, Upload
from support.engine import RunEngine, raw_request


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "brew-coffee!"])
def test_the_method_is_what_the_client_wrote(run_engine: RunEngine, method: str) -> None:
    assert run_engine().request(method=method).method == method


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        ("/", "/", b"/", ""),
        ("/a/b?x=1&y=2", "/a/b", b"/a/b", "x=1&y=2"),
        ("/a%20b%2Fc?%41", "/a b/c", b"/a%20b%2Fc", "%41"),
        ("/%C3%A9", "/é", b"/%C3%A9", ""),
        ("/%ff", "/\ufffd", b"/%ff", ""),
        ("/100%", "/100%", b"/100%", ""),
        ("/%zz%4", "/%zz%4", b"/%zz%4", ""),
        ("/?", "/", b"/", ""),
        ("/a?b?c", "/a", b"/a", "b?c"),
        ("http://example.com/abs?q", "/abs", b"/abs", "q"),
        ("http://example.com", "/", b"/", ""),
    ],
)
def test_a_target_is_taken_apart(
    run_engine: RunEngine, target: str, path: str, raw: bytes, query: str
) -> None:
    request = run_engine().request(target)
    assert (request.path, request.raw_path, request.query) == (path, raw, query)


@pytest.mark.parametrize(
    ("settings", "target", "uri"),
    [
        ({}, "/a?b", "http://example.com/a?b"),
        ({"hostname": "MySite.com", "port": 80}, "/a", "http://MySite.com/a"),
        ({"hostname": "MySite.com", "port": 8080}, "/a?", "http://MySite.com:8080/a?"),
        ({}, "http://example.com/abs", "http://example.com/abs"),
        ({}, "https://example.com/abs?q", "https://example.com/abs?q"),
        ({}, "http://example.com", "http://example.com"),
        ({"hostname": "MySite.com", "port": 80}, "http://example.com/a", "http://MySite.com/a"),
        ({"proxy_mode": True}, "http://example.com/a%20b?c", "http://example.com/a%20b?c"),
        ({"proxy_mode": True}, "/a%20b?c", "/a%20b?c"),
    ],
)
def test_the_uri_is_whole_and_in_proxy_mode_as_it_came(
    run_engine: RunEngine, settings: dict[str, Any], target: str, uri: str
) -> None:
    request = run_engine(**settings).request(target)
    assert request.uri == uri
    if settings.get("proxy_mode"):
        assert request.path == target


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        ({}, "http://example.com:81"),
        ({"hostname": "MySite.com", "port": 80}, "http://MySite.com"),
        ({"proxy_mode": True}, "*"),
    ],
)
def test_the_uri_of_options_for_the_server_has_no_path(
    run_engine: RunEngine, settings: dict[str, Any], uri: str
) -> None:
    seen: list[str] = []

    def handler(request: Request, response: Response) -> None:
        seen.append(request.uri)
        response.done()

    data = b"OPTIONS * HTTP/1.1\r\nHost: example.com:81\r\nConnection: close\r\n\r\n"
    run_engine(handler=handler, **settings).raw(data)
    assert seen == [uri]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "unix"])
def test_http_1_0_without_a_host_has_the_address_that_it_came_to_in_its_uri(
    run_engine: RunEngine, tmp_path: Path, address: str
) -> None:
    seen: list[tuple[str, str]] = []

    def handler(request: Request, response: Response) -> None:
        seen.append((request.protocol, request.uri))
        response.done()

    listener = listen_on(address, tmp_path)
    run_engine(handler=handler, listener=listener).raw(b"GET /a HTTP/1.0\r\n\r\n")
    port = "" if address == "unix" else f":{listener.getsockname()[1]}"
    host = {"::1": "[::1]", "unix": "localhost"}.get(address, address)
    assert seen == [("HTTP/1.0", f"http://{host}{port}/a")]


def listen_on(address: str, directory: Path) -> socket.socket:
    if address == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "socket"))
        listener.listen()
        return listener
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


@pytest.mark.parametrize("version", ["1.1", "1.7"])
def test_every_later_minor_version_is_http_1_1(run_engine: RunEngine, version: str) -> None:
    there = run_engine()
    there.raw(f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    ((request, _),) = there.service.ended
    assert request
    assert request.protocol == "HTTP/1.1"


def test_header_fields_are_there_in_order_with_repeats_in_latin_1(run_engine: RunEngine) -> None:
    request = run_engine().request("/", "X-A: 1", "x-a:  2  ", "X-Name: J\xf6rg")
    assert request.headers.items() == [
        *(("Host", "example.com"), ("X-A", "1"), ("x-a", "2")),
        *(("X-Name", "Jörg"), ("Connection", "close")),
    ]
    assert request.header("x-A") == "1"
    assert request.header("X-B") is None
    assert request.header("X-B", "-") == "-"
    request.headers["X-A"] = "changed"
    assert request.header("X-A") == "1"


def test_a_body_in_memory_is_bytes_and_a_file(run_engine: RunEngine) -> None:
    request = run_engine().request("/", "Content-Type: a/b", method="POST", body=b"hello")
    assert request.content == b"hello"
    assert request.content_length == 5
    assert request.content_type == "a/b"
    assert isinstance(request.body, io.BytesIO)
    assert request.body.read() == b"hello"


def test_a_spooled_body_is_a_file_of_its_own_each_time(run_engine: RunEngine) -> None:
    body = bytes(range(256)) * 64
    request = run_engine(spool_above=1000).request(method="POST", body=body)
    assert request.content_length == len(body)
    with request.body as one, request.body as other:
        assert os.readlink(f"/proc/self/fd/{one.fileno()}").endswith("(deleted)")
        assert one.read(10) == body[:10]
        assert other.read() == body
        assert one.read() == body[10:]
        assert request.content == body


def test_without_a_body_there_is_an_empty_one(run_engine: RunEngine) -> None:
    request = run_engine().request()
    assert (request.content, request.content_length, request.content_type) == (b"", 0, None)
    assert request.body.read() == b""


def test_json_is_read_from_the_body_or_refused(run_engine: RunEngine) -> None:
    there = run_engine()
    assert there.request(method="POST", body='{"a": ["é"]}'.encode()).json() == {"a": ["é"]}
    with pytest.raises(ValueError, match="Expecting"):
        there.request(method="POST", body=b"{").json()


def test_forms_are_read_from_the_body_or_refused(run_engine: RunEngine) -> None:
    there = run_engine()
    kind = "Content-Type: application/x-www-form-urlencoded"
    assert there.request("/", kind, method="POST", body=b"a=1&b=%20&a=2").form() == {
        "a": ["1", "2"],
        "b": [" "],
    }
    body = (
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n'
        b"Content-Type: a/b\r\n\r\n\0\r\n--B--\r\n"
    )
    form = there.request(
        "/", "Content-Type: multipart/form-data; boundary=B", method="POST", body=body
    ).form()
    assert form == {"f": [Upload("x.bin", "a/b", b"\0")]}
    with pytest.raises(ValueError, match="expected a form"):
        there.request("/", "Content-Type: text/plain", method="POST", body=b"a=1").form()


def test_basic_credentials_are_decoded_or_none(run_engine: RunEngine) -> None:
    there = run_engine()
    token = base64.b64encode("jörg:p:w".encode()).decode()
    assert there.request("/", f"Authorization: Basic {token}").authorization_basic == ("jörg", "p:w")
    assert there.request("/", "Authorization: Bearer x").authorization_basic is None
    assert there.request().authorization_basic is None


def test_the_match_is_the_handlers_to_set(run_engine: RunEngine) -> None:
    request = run_engine().request("/a")
    assert request.match is None
    match = re.search("a", "a")
    request.match = match
    assert request.match is match
    with pytest.raises(AttributeError):
        request.path = "/b"  # type: ignore[misc]


def test_the_connection_knows_both_ends_as_long_as_it_is_asked_in_time(run_engine: RunEngine) -> None:
    seen: list[Connection] = []

    def handler(request: Request, response: Response) -> None:
        connection = request.connection
        assert connection is request.connection
        assert connection is response.connection
        assert not connection.dead
        seen.append(connection)
        response.done()

    there = run_engine(handler=handler)
    client = there.connect(raw_request("/", "Connection: close"))
    port = client.getsockname()[1]
    there.read(client)
    (connection,) = seen
    assert (connection.remote_ip, connection.remote_port) == ("127.0.0.1", port)
    assert connection.remote_addr == socket.inet_aton("127.0.0.1")
    assert (connection.local_ip, connection.local_port) == there.socket.getsockname()
    assert connection.local_addr == socket.inet_aton("127.0.0.1")
    assert (connection.ssl, connection.sslcipher) == (False, None)
    assert connection.dead
    assert repr(connection) == f"<Connection {connection.id} from 127.0.0.1:{port}, dead>"


def test_connections_are_distinguished_by_their_id(run_engine: RunEngine) -> None:
    there = run_engine()
    one, other = there.request().connection, there.request().connection
    assert one.id != other.id
    assert one != other
    assert one == one
    assert len({one, other, one}) == 2
    assert one != "a connection"


def test_an_ipv4_client_of_a_dual_socket_is_an_ipv4_client(run_engine: RunEngine) -> None:
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    there = run_engine(listener=listener)
    client = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
    client.sendall(raw_request("/", "Connection: close"))
    there.clients.append(client)
    there.read(client)
    ((request, _),) = there.service.ended
    assert request
    assert request.remote_ip == "127.0.0.1"


def test_over_a_unix_socket_the_client_has_no_address(run_engine: RunEngine, tmp_path: Path) -> None:
    connection = run_engine(listener=listen_on("unix", tmp_path)).request().connection
    assert (connection.remote_ip, connection.remote_port, connection.remote_addr) == ("unix", 0, None)


def test_the_repr_has_the_request_line_and_the_client(run_engine: RunEngine) -> None:
    assert repr(run_engine().request("/a?b", method="PUT")) == "<Request PUT /a?b from 127.0.0.1>"
