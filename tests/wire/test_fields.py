"""WIRE_POLICY, header fields: Host, names, underscores, sizes."""

from __future__ import annotations

import json

import pytest

from support.apps import APPS
from support.server import Serve
from support.wire import Wire

GET = b"GET /fields HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host:\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: a, b\r\n",
        b"Host: a:b\r\n",
        b"Host: a:80:80\r\n",
        b"Host: a@b\r\n",
        b"Host: [::1\r\n",
        b"Host: [v1]\r\n",
        b"Host: [v.a]\r\n",
        b"Host: \xff\r\n",
    ],
)
def test_http_1_1_wants_one_valid_host(wire: Wire, fields: bytes) -> None:
    wire.refuse(GET + fields + b"\r\n")


@pytest.mark.parametrize("host", [b"b", b"a:81", b"a.b", b""])
def test_a_host_that_differs_from_the_target_is_refused(wire: Wire, host: bytes) -> None:
    wire.refuse(b"GET http://a:80/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")


@pytest.mark.parametrize(
    "host", [b"a", b"a:80", b"[::1]:8080", b"[v1.fe80::a+en1]", b"127.0.0.1", b"xn--bcher-kva.example"]
)
def test_a_valid_host_is_served(wire: Wire, host: bytes) -> None:
    wire.accept(b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", "GET /x")


def test_http_1_0_needs_no_host(wire: Wire) -> None:
    wire.accept(b"GET /x HTTP/1.0\r\n\r\n", "GET /x")


@pytest.mark.parametrize(
    "field",
    [
        b"X Y: a",
        b"X : a",
        b"X\t: a",
        b"Content-Length : 5",
        b": a",
        b"X",
        b"X(y): a",
        b"X\xe9: a",
        b" X: a",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\r\n \r\nY: b",
        b" folded",
    ],
)
def test_a_field_line_of_another_form_is_refused(wire: Wire, field: bytes) -> None:
    wire.refuse(GET + field + b"\r\nHost: a\r\n\r\n")
    wire.refuse(GET + b"Host: a\r\n" + field + b"\r\n\r\n")


def test_space_round_a_value_is_no_part_of_it(wire: Wire) -> None:
    response = wire.server.raw(GET + b"Host: a\r\nX: \t b c \t \r\nY:\r\nZ:d\r\n\r\n", half_close=True)
    fields = json.loads(response.partition(b"\r\n\r\n")[2])
    assert fields == [["host", "a"], ["x", "b c"], ["y", ""], ["z", "d"]]


def test_an_underscore_in_a_name_is_dropped_before_it_can_overwrite_another(wire: Wire) -> None:
    request = GET + b"Host: a\r\nX-User: proxy\r\nX_User: client\r\nContent_Length: 9\r\n_: x\r\n\r\n"
    fields = json.loads(wire.server.raw(request, half_close=True).partition(b"\r\n\r\n")[2])
    assert fields == [["host", "a"], ["x-user", "proxy"]]


def test_a_request_line_of_16_kib_is_served_and_a_longer_one_is_414(wire: Wire) -> None:
    path = b"/" + b"x" * (16384 - len("GET / HTTP/1.1"))
    wire.accept(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n", f"GET {path.decode()}")
    wire.refuse(b"GET " + path + b"x HTTP/1.1\r\nHost: a\r\n\r\n", 414)


def test_a_request_line_that_never_ends_is_414(wire: Wire) -> None:
    wire.refuse(b"GET /" + b"x" * 20_000, 414)
    wire.refuse(b"G" * 20_000, 414)


def test_line_limits_are_an_option(serve: Serve) -> None:
    server = serve(APPS / "wire_app.py", "--max-line", "2k", "--max-head", "1m")
    ask = b"GET /%s HTTP/1.1\r\nHost: a\r\nCookie: %s\r\nConnection: close\r\n\r\n"
    assert server.raw(ask % (b"x" * 2000, b"x" * 2000)).startswith(b"HTTP/1.1 200 ")
    assert server.raw(ask % (b"x" * 2048, b"x" * 2000)).startswith(b"HTTP/1.1 414 ")
    assert server.raw(ask % (b"x" * 2000, b"x" * 2048)).startswith(b"HTTP/1.1 431 ")


def test_a_line_may_fill_the_whole_head_and_the_head_is_bounded(serve: Serve) -> None:
    server = serve(APPS / "wire_app.py", "--max-line", "1m", "--max-head", "200k")
    ask = b"GET /%s HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate %s\r\nConnection: close\r\n\r\n"
    assert server.raw(ask % (b"x" * 100_000, b"x" * 100_000)).startswith(b"HTTP/1.1 200 ")
    assert server.raw(ask % (b"x" * 100_000, b"x" * 110_000)).startswith(b"HTTP/1.1 431 ")
    assert server.raw(ask % (b"x" * 210_000, b"x")).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("name", [b"Cookie", b"Authorization"])
def test_a_token_of_single_sign_on_fits_in_a_line(wire: Wire, name: bytes) -> None:
    token = b"Negotiate " + b"A" * 16_000
    wire.accept(b"GET /x HTTP/1.1\r\nHost: a\r\n" + name + b": " + token + b"\r\n\r\n", "GET /x")


def test_a_field_line_of_16_kib_is_served_and_a_longer_one_is_431(wire: Wire) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a\r\n"
    line = b"X: " + b"x" * (16384 - 3)
    wire.accept(head + line + b"\r\n\r\n", "GET /x")
    wire.refuse(head + line + b"x\r\n\r\n", 431)


def test_100_fields_are_served_and_one_more_is_431(wire: Wire) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a\r\n"
    wire.accept(head + b"X: y\r\n" * 99 + b"\r\n", "GET /x")
    wire.refuse(head + b"X: y\r\n" * 100 + b"\r\n", 431)


def test_a_head_over_64_kib_is_431(wire: Wire) -> None:
    line = b"X: " + b"x" * 7000 + b"\r\n"
    wire.accept(b"GET /x HTTP/1.1\r\nHost: a\r\n" + line * 9 + b"\r\n", "GET /x")
    wire.refuse(b"GET /x HTTP/1.1\r\nHost: a\r\n" + line * 10 + b"\r\n", 431)


@pytest.mark.parametrize("name", ["Content-Type", "Content-Encoding", "Authorization"])
def test_a_field_that_a_proxy_may_have_read_otherwise_has_one_value(wire: Wire, name: str) -> None:
    head = f"GET /fields HTTP/1.1\r\nHost: a\r\n{name}: a/b\r\n"
    wire.refuse(f"{head}{name.lower()}: c/d\r\n\r\n".encode())
    wire.refuse(f"{head}X: y\r\n{name}:\r\n\r\n".encode())
    same = wire.server.raw(f"{head}X: y\r\n{name.lower()}: a/b\r\n\r\n".encode(), half_close=True)
    fields = json.loads(same.partition(b"\r\n\r\n")[2])
    assert fields == [["host", "a"], [name.lower(), "a/b"], ["x", "y"], [name.lower(), "a/b"]]
