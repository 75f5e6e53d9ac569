"""What goes wrong in an application costs one request, and is said."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.apps import APPS
from support.responses import read_all
from support.server import Serve, Server, running

APP = APPS / "server_faults.py"


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with running(str(APP), "--bind", "127.0.0.1:0") as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """One server for all: after each fault it must serve the next good request."""
    yield shared
    status, _, body = shared.request("/raises_after")
    assert (status, body) == (200, b"served")
    assert shared.process.poll() is None


def reported(server: Server, text: str) -> bool:
    return any(text in error and ip == "127.0.0.1" for error, ip in json.loads(server.get("/errors")))


@pytest.mark.parametrize(
    ("path", "error", "event"),
    [
        (
            "/raises",
            "a handler that fails",
            "session PAGES: event raises(<Request GET /raises from 127.0.0.1>, ",
        ),
        ("/async_raises", "an async handler that fails", "session PAGES: event async_raises(<Request GET "),
        ("/function", "a function that fails", "session function: event function(<Request GET /function "),
        ("/cancelled", "CancelledError", "session PAGES: event cancelled(<Request GET "),
    ],
)
def test_an_exception_in_a_handler_is_a_500_and_logged_with_session_event_and_arguments(
    server: Server, path: str, error: str, event: str
) -> None:
    status, fields, body = server.request(path)
    assert (status, fields["content-type"], body) == (500, "text/plain", b"500 Internal Server Error")
    assert "x-half" not in fields
    assert "failed" in server.wait_log(event)
    server.wait_log(error)
    assert reported(server, error)


def test_an_exception_after_the_response_is_logged_and_the_response_stands(server: Server) -> None:
    assert server.get("/raises_after") == b"served"
    server.wait_log("ValueError: after its response")


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/forgets", "PAGES.forgets"),
        ("/async_forgets", "PAGES.async_forgets"),
        ("/later", "PAGES.later"),
    ],
)
def test_a_response_that_is_dropped_incomplete_is_a_500_that_names_its_handler(
    server: Server, path: str, handler: str
) -> None:
    assert server.request(path)[0] == 500
    server.wait_log(
        f"handler {handler} dropped its response before it was complete; it must call done() or close()"
    )
    assert reported(server, f"handler {handler} dropped its response before it was complete")


def test_one_that_is_dropped_in_a_cycle_is_served_when_it_is_collected(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /in_a_cycle HTTP/1.1\r\nHost: a\r\n\r\n")
        server.get("/collect")
        assert read_all(sock).startswith(b"HTTP/1.1 500 ")
    server.wait_log("handler PAGES.in_a_cycle dropped its response before it was complete")


@pytest.mark.parametrize("path", ["/evil_header", "/evil_header_posted", "/evil_content"])
def test_what_cannot_be_sent_is_a_500_and_nothing_of_it_is_sent(server: Server, path: str) -> None:
    received = server.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 500 ")
    assert received.count(b"HTTP/1.1") == 1
    assert b"stolen" not in received
    server.wait_log(f"PAGES.{path[1:]}")
    assert reported(server, f"PAGES.{path[1:]}")


def test_a_handler_may_catch_that_and_respond_after_all(server: Server) -> None:
    assert b"Bad Name" in server.get("/mended")


def test_responding_twice_is_an_error_of_the_handler(server: Server) -> None:
    assert server.get("/twice") == b"once"
    server.wait_log("handler PAGES.twice: the response was already sent (handler PAGES.twice)")
    assert reported(server, "the response was already sent")


def test_a_session_that_vanishes_later_is_a_500_and_an_error_and_the_server_goes_on(serve: Serve) -> None:
    server = serve(APP)
    assert server.get("/guest") == b"here"
    server.get("/remove")
    assert server.request("/guest")[0] == 500
    server.wait_log("handler GUEST.page: no session has the alias 'GUEST'")
    assert reported(server, "no session has the alias 'GUEST'")
    assert server.get("/raises_after") == b"served"


MALFORMED = APPS / "malformed.py"


def test_a_handler_for_malformed_requests_that_matches_the_empty_path_gets_them(serve: Serve) -> None:
    server = serve(MALFORMED, parameters={"event": "wrong"})
    received = server.raw(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n" + b"GET /a HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in received
    assert received.endswith(b"\r\n\r\n400 for None by ^$|^/b at 127.0.0.1")
    # For other requests it is a handler like all others.
    assert b"<Request GET /b " in server.request("/b")[2]
    assert server.get("/a") == b"page /a"


def test_a_handler_for_malformed_requests_that_fails_is_a_500(serve: Serve) -> None:
    server = serve(MALFORMED, parameters={"event": "raises"})
    assert server.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    server.wait_log("ValueError: not again")
    assert server.get("/a") == b"page /a"


def test_without_such_a_handler_the_engine_responds(server: Server) -> None:
    received = server.raw(b"nonsense\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    server.wait_log("client 127.0.0.1: 400 ")
