"""WIRE_POLICY over HTTP/2: the field section of a request. It means the same over h2c and over TLS."""

from __future__ import annotations

import json

import pytest

from support.apps import APPS
from support.http2 import COMPRESSION_ERROR, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, http2
from support.server import Serve
from support.streams import Streams
from wire.conftest import HTTP2_WAYS

EVERY_WAY = pytest.mark.parametrize("way", HTTP2_WAYS.values(), ids=HTTP2_WAYS)


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x01b", "a\x1fb", "a\x7fb"])
def test_a_control_byte_is_refused(streams: Streams, text: str) -> None:
    streams.refuse([("x", text)])
    streams.refuse([(text, "x")])
    streams.refuse(path="/" + text)
    streams.refuse(method=text)
    streams.refuse(authority=text)
    streams.refuse(scheme=text)


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " "])
def test_space_round_a_value_is_refused(streams: Streams, value: str) -> None:
    """RFC 9113 8.2.1. A peer that forwards it in HTTP/1.1 would cut it off."""
    streams.refuse([("x", value)])


@pytest.mark.parametrize(
    "name", ["X-Upper", "x-uppeR", "x y", " x", "x ", "", "x:y", "x(y)", "x\u00e9", "x\t", "HOST", "Cookie"]
)
def test_a_name_of_another_form_is_refused(streams: Streams, name: str) -> None:
    streams.refuse([(name, "a")])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
        ("te", ""),
    ],
)
def test_a_field_of_the_connection_is_refused(streams: Streams, name: str, value: str) -> None:
    streams.refuse([(name, value)])
    streams.refuse([(name, value)], method="POST", body=b"hello")


def test_te_may_say_trailers(streams: Streams) -> None:
    streams.accept("GET /x", [("te", "trailers")])


@pytest.mark.parametrize("missing", ["method", "scheme", "path", "authority"])
def test_each_pseudo_header_is_there_and_not_empty(streams: Streams, missing: str) -> None:
    streams.refuse(also={missing: None})
    streams.refuse(also={missing: ""})


@pytest.mark.parametrize(
    "name", [":method", ":scheme", ":path", ":authority", ":status", ":protocol", ":x", ":"]
)
def test_a_pseudo_header_that_is_late_doubled_or_unknown_is_refused(streams: Streams, name: str) -> None:
    value = {":method": "GET", ":scheme": "http", ":path": "/x", ":authority": "a"}.get(name, "200")
    streams.refuse([(name, value)])
    streams.refuse([("x", "y"), (name, value)])


@pytest.mark.parametrize("method", ["G T", "G@T", "G(T)", "G\u00e9T", " GET", "GET ", "GET\t"])
def test_a_method_that_is_no_token_is_refused(streams: Streams, method: str) -> None:
    streams.refuse(method=method)


@pytest.mark.parametrize("method", ["get", "PATCH", "X-Y_z!", "A" * 200])
def test_any_token_is_a_method(streams: Streams, method: str) -> None:
    streams.accept(f"{method} /x", method=method)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "?a",
        "x/y",
        "http://a/",
        "http://a",
        "https://b/",
        "*",
        "/a b",
        "/a#b",
        "/\u00e9",
        "/\xff",
        " /",
        "/ ",
    ],
)
def test_a_path_that_does_not_fit_is_refused(streams: Streams, path: str) -> None:
    streams.refuse(path=path)


@pytest.mark.parametrize(
    ("method", "path", "seen"),
    [("GET", "/a/%20b?c=d&e", "GET /a/ b"), ("GET", "//b/c", "GET //b/c"), ("OPTIONS", "*", "OPTIONS *")],
)
def test_every_path_that_fits_is_served(streams: Streams, method: str, path: str, seen: str) -> None:
    streams.accept(seen, method=method, path=path)


@pytest.mark.parametrize("scheme", ["ftp", "ht tp", "http:", "http://a", "httpx"])
def test_another_scheme_is_refused(streams: Streams, scheme: str) -> None:
    streams.refuse(scheme=scheme)


@pytest.mark.parametrize(
    "authority",
    ["a b", "a/b", "a, b", "a:b", "a:80:80", "u@a", "u:p@a", "[::1", "[v1]", "\xff", "a#", "a?b", "http://a"],
)
def test_an_authority_that_is_no_host_is_refused(streams: Streams, authority: str) -> None:
    streams.refuse(authority=authority)
    streams.refuse([("host", authority)], authority=None)


@pytest.mark.parametrize("host", ["b", "a:81", "a.b", "", "a, a"])
def test_a_host_that_differs_from_the_authority_is_refused(streams: Streams, host: str) -> None:
    streams.refuse([("host", host)])


def test_a_second_host_is_refused(streams: Streams) -> None:
    for authority in ("a", None):
        streams.refuse([("host", "a"), ("host", "a")], authority=authority)
        streams.refuse([("host", "a"), ("host", "b")], authority=authority)


def test_a_request_without_an_authority_has_a_host(streams: Streams) -> None:
    streams.accept("GET /x", [("host", "a")], authority=None)
    streams.accept("GET /x", [("host", "a")])
    streams.accept("GET /x", [("host", "A:80")], authority="a:80")


def test_the_authority_is_the_host_field(streams: Streams) -> None:
    response = streams.ask([("x", "b c"), ("y", ""), ("cookie", "d"), ("cookie", "e")], path="/fields")
    fields = json.loads(response.body)
    assert fields == [["host", "a"], ["x", "b c"], ["y", ""], ["cookie", "d; e"]]


def test_an_underscore_in_a_name_is_dropped_before_it_can_overwrite_another(streams: Streams) -> None:
    fields = [("x-user", "proxy"), ("x_user", "client"), ("content_length", "9"), ("_", "x")]
    response = streams.ask(fields, path="/fields")
    assert json.loads(response.body) == [["host", "a"], ["x-user", "proxy"]]


@EVERY_WAY
def test_an_underscore_is_refused_if_an_option_says_so(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve(APPS / "wire_app.py", "--workers", "1", "--underscores", "reject", *way)
    with http2(server) as client:
        assert client.get("/fields", [("x_user", "client")]).status == 400
        assert client.get("/fields", [("x-user", "proxy")]).status == 200


@pytest.mark.parametrize("name", ["content-type", "content-encoding", "authorization"])
def test_a_field_that_a_proxy_may_have_read_otherwise_has_one_value(streams: Streams, name: str) -> None:
    streams.refuse([(name, "a/b"), (name, "c/d")])
    streams.refuse([(name, "a/b"), ("x", "y"), (name, "")])
    response = streams.ask([(name, "a/b"), (name, "a/b")], path="/fields")
    assert json.loads(response.body) == [["host", "a"], [name, "a/b"], [name, "a/b"]]


def test_a_path_of_16_kib_is_served_and_a_longer_one_is_414(streams: Streams) -> None:
    path = "/" + "x" * 16_383
    streams.accept(f"GET {path}", path=path)
    streams.refuse(status=414, path=path + "x")


def test_a_field_of_16_kib_is_served_and_a_longer_one_is_431(streams: Streams) -> None:
    streams.accept("GET /x", [("x", "x" * 16_383)])
    streams.refuse([("x", "x" * 16_384)], 431)


def test_100_fields_are_served_and_one_more_is_431(streams: Streams) -> None:
    streams.accept("GET /x", [("x", "y")] * 99)
    streams.refuse([("x", "y")] * 101, 431)


def test_a_field_section_over_64_kib_is_431(streams: Streams) -> None:
    streams.accept("GET /x", [(f"x-{number}", "x" * 7000) for number in range(9)])
    with streams.connection() as client:
        for _ in range(3):  # the second is a few bytes of the table of compression
            fields = [("x", "x" * 3000)] * 30
            assert client.response(client.ask(fields=fields)).status == 431
        assert client.response(client.ask(path="/x")).status == 200
    assert streams.seen() == ["GET /x"]


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "", "100 continue"])
def test_another_expectation_is_417(streams: Streams, value: str) -> None:
    streams.refuse([("expect", value), ("content-length", "5")], 417, method="POST", body=b"hello")


def test_connect_is_405(streams: Streams) -> None:
    streams.refuse(status=405, method="CONNECT", scheme=None, path=None, authority="a:443")


@pytest.mark.parametrize(
    "pseudo",
    [
        {"authority": "a"},
        {"authority": "a", "path": "/x"},
        {"authority": "a:443", "path": "/x"},
        {"authority": "a:443", "scheme": "http"},
        {"authority": None},
    ],
)
def test_a_connect_of_another_form_is_refused(streams: Streams, pseudo: dict[str, str | None]) -> None:
    streams.refuse(also={"method": "CONNECT", "scheme": None, "path": None, **pseudo})


def test_a_protocol_needs_connect_and_websocket(streams: Streams) -> None:
    streams.refuse(protocol="websocket")
    streams.refuse(status=501, method="CONNECT", protocol="connect-udp")


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\xff\xff\xff\xff\x0f",  # an index far beyond the table
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a number without an end
        b"\x82\x86\x84\x41\x01",  # a text that is cut off
        b"\x82\x86\x84\x41\x81\xff",  # padding of more than 7 bits, or EOS
        b"\x82\x86\x84\x20",  # a size of the table in the middle
        b"\x3f\xe2\x1f\x82\x86\x84",  # a larger table than allowed
    ],
)
def test_a_block_that_cannot_be_read_ends_the_connection(streams: Streams, block: bytes) -> None:
    with streams.connection() as client:
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, block)
        client.ask(path="/never")
        goaway = streams.end(client)
        assert goaway is not None
        assert goaway.code == COMPRESSION_ERROR
    assert streams.seen() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "crlf"),
        ("X-A", "lf"),
        ("X-A", "nul"),
        ("X A", "plain"),
        ("X:A", "plain"),
        (":status", "plain"),
    ],
)
def test_a_response_field_that_cannot_be_sent_is_500_and_nothing_of_it_is_sent(
    streams: Streams, name: str, value: str
) -> None:
    response = streams.ask([("x-name", name), ("x-value", value)], path="/inject")
    assert response.status == 500
    assert not {"set-cookie", "x-a"} & response.fields.keys()
    assert b"never sent" not in response.body
    assert streams.seen() == []


def test_a_reset_does_not_harm_the_table_of_compression(streams: Streams) -> None:
    """A malformed list changes the table as any other does."""
    with streams.connection() as client:
        for number in range(3):
            kept = [("x-kept", f"value {number}")]
            assert client.response(client.ask(fields=[*kept, ("X-Bad", "a")])).reset == PROTOCOL_ERROR
            fields = json.loads(client.get("/fields", kept).body)
            assert fields == [["host", "test"], ["x-kept", f"value {number}"]]
