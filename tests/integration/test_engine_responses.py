"""How a response is framed: keep-alive, HEAD, statuses without a body, streams for both versions."""

from __future__ import annotations

import pytest

from support.apps import APPS
from support.responses import only, parse, read_all
from support.server import Serve

APP = APPS / "engine_responses.py"

ENDS = "Connection: close\r\n"


def ask(path: str, fields: str = "", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode()


def test_a_connection_serves_many_requests(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as sock:
        for _ in range(50):
            sock.sendall(ask("/hello"))
            assert only(sock.recv(65536)).body == b"hello"


def test_an_error_response_keeps_the_connection(serve: Serve) -> None:
    server = serve(APP)
    responses = parse(server.raw(ask("/missing") + ask("/status/500") + ask("/hello"), half_close=True))
    assert [response.status for response in responses] == [404, 500, 200]


def test_without_keep_alive_every_response_ends_its_connection(serve: Serve) -> None:
    server = serve(APP, parameters={"keep_alive": False})
    response = only(server.raw(ask("/hello") + ask("/hello")))
    assert response.headers["connection"] == "close"


def test_http_1_0_is_kept_alive_on_request_with_a_field_for_it(serve: Serve) -> None:
    server = serve(APP)
    kept = ask("/hello", "Connection: keep-alive\r\n", version="1.0")
    with server.connect() as sock:
        sock.sendall(kept)
        assert only(sock.recv(65536)).headers["connection"] == "keep-alive"
        sock.sendall(ask("/hello", version="1.0"))
        assert only(read_all(sock)).headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/hello", "/missing", "/status/200"])
def test_head_has_the_fields_of_get_and_no_body(serve: Serve, path: str) -> None:
    server = serve(APP)
    (head,) = parse(server.raw(ask(path, method="HEAD"), half_close=True), bodiless=True)
    got = only(server.raw(ask(path), half_close=True))
    varying = {"date"}
    assert head.status == got.status
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in got.headers.items() if k not in varying
    }
    assert head.headers["content-length"] == str(len(got.body))


def test_head_of_a_stream_ends_after_its_head(serve: Serve) -> None:
    server = serve(APP)
    asked = ask("/stream/3", method="HEAD") + ask("/hello", ENDS, method="HEAD")
    first, second = parse(server.raw(asked), bodiless=True)
    assert "content-length" not in first.headers
    assert second.headers["content-length"] == "5"


@pytest.mark.parametrize("path", ["/endless", "/endless_plain"])
def test_head_of_an_endless_stream_ends_it(serve: Serve, path: str) -> None:
    server = serve(APP)
    with server.connect() as sock:
        sock.sendall(ask(path, method="HEAD") + ask("/hello", ENDS, method="HEAD"))
        assert len(parse(read_all(sock), bodiless=True)) == 2
    assert server.get("/finished") == path.strip("/").encode()


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_a_body_has_none_and_the_next_response_is_whole(serve: Serve, code: int) -> None:
    server = serve(APP)
    first, second = parse(server.raw(ask(f"/status/{code}") + ask("/hello"), half_close=True))
    assert (first.status, second.body) == (code, b"hello")
    assert "transfer-encoding" not in first.headers
    if code == 204:
        assert "content-length" not in first.headers


def test_a_stream_is_chunked_for_1_1_and_the_connection_goes_on(serve: Serve) -> None:
    server = serve(APP)
    first, second = parse(server.raw(ask("/stream/5") + ask("/hello", ENDS)))
    assert first.headers["transfer-encoding"] == "chunked"
    assert first.body == b"".join(b"piece %d\n" % number for number in range(5))
    assert second.body == b"hello"


@pytest.mark.parametrize("fields", ["", "Connection: keep-alive\r\n"])
def test_a_stream_ends_with_the_connection_for_1_0(serve: Serve, fields: str) -> None:
    server = serve(APP)
    response = only(server.raw(ask("/stream/5", fields, version="1.0") + ask("/hello")))
    assert "transfer-encoding" not in response.headers
    assert response.headers["connection"] == "close"
    assert response.body == b"".join(b"piece %d\n" % number for number in range(5))


def test_a_stream_of_known_length_is_not_chunked(serve: Serve) -> None:
    server = serve(APP)
    for version in ("1.1", "1.0"):
        asked = ask("/known", "Connection: keep-alive\r\n", version=version) + ask("/hello", ENDS)
        first, second = parse(server.raw(asked))
        assert first.headers["content-length"] == "10"
        assert (first.body, second.body) == (b"1234512345", b"hello")


def test_a_stream_without_pieces_is_an_empty_response(serve: Serve) -> None:
    server = serve(APP)
    first, second = parse(server.raw(ask("/nothing") + ask("/hello", ENDS)))
    assert (first.status, first.body, second.body) == (200, b"", b"hello")


def test_the_stream_event_comes_again_for_each_piece(serve: Serve) -> None:
    server = serve(APP)
    first, second = parse(server.raw(ask("/pieces") + ask("/hello", ENDS)))
    assert (first.body, second.body) == (b"first,next,next,", b"hello")
    old = only(server.raw(ask("/pieces", version="1.0")))
    assert old.body == b"first,next,next,"


def test_fields_of_the_server_are_in_every_response(serve: Serve) -> None:
    server = serve(APP)
    responses = parse(server.raw(ask("/hello") + ask("/missing") + ask("/stream/1", ENDS)))
    assert [response.headers["x-server"] for response in responses] == ["test"] * 3
    assert all("date" in response.headers for response in responses)


def test_head_of_a_stream_of_events_ends_it(serve: Serve) -> None:
    server = serve(APP)
    asked = ask("/pieces", method="HEAD") + ask("/hello", ENDS, method="HEAD")
    assert len(parse(server.raw(asked), bodiless=True)) == 2


def test_a_posted_done_reaches_a_half_closed_client(serve: Serve) -> None:
    server = serve(APP)
    for _ in range(20):
        responses = parse(server.raw(ask("/posted") * 3, half_close=True))
        assert [response.body for response in responses][:1] == [b"posted"]


def test_a_response_may_have_a_destructor_that_looks_at_the_engine(serve: Serve) -> None:
    server = serve(APP)
    assert server.get("/noisy") == b"x" * 100_000
    assert server.get("/finished") == b"1"
