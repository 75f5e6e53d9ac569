"""Exceptions that are hard to handle: the client has its 500 at once, and the log its line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.apps import APPS
from support.server import Server, running
from support.websocket import CLOSE, RawSocket

ERRORS = (
    *("unspeakable", "exits", "cancels", "string", "group"),
    *("cancelled", "generator", "stop", "stop_async", "base"),
)
CANCELLED = ("/awaited/unspeakable", "/itself/unspeakable")
KINDS = {
    "wsgi": (("wsgi",), ("/",)),
    "threads": (("wsgi", "--threads", "2"), ("/",)),
    "asgi": (("asgi",), ("/", "/later/")),
    "uvloop": (("asgi", "--loop", "uvloop"), ("/", "/later/")),
    "events": (("events",), ("/now/", "/later/", "/function/", "/async/")),
}


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    (name, *options), _ = KINDS[request.param]
    target = f"{APPS / 'hard_errors.py'}:{name}"
    # A response that comes when the time is over is a 504.
    options = [*options, "--bind", "127.0.0.1:0", "--workers", "1", "--request-timeout", "30"]
    if name == "asgi":
        options += ["--lifespan", "off"]
    with running(target, *options) as server:
        yield server, request.param
        assert server.stop() == 0


@pytest.fixture
def server(shared: tuple[Server, str]) -> Iterator[Server]:
    server, _ = shared
    server.forget_output()
    yield server
    assert server.get("/") == b"fine"


@pytest.mark.parametrize("name", ERRORS)
def test_it_is_a_500_at_once_and_a_line(server: Server, shared: tuple[Server, str], name: str) -> None:
    _, places = KINDS[shared[1]]
    for place in places:
        status, _, body = server.request(f"{place}{name}")
        assert (place, status, body) == (place, 500, b"500 Internal Server Error")
        server.wait_log("failed")
        server.forget_output()


@pytest.mark.parametrize("shared", ["asgi", "uvloop", "events"], indirect=True)
@pytest.mark.parametrize("path", CANCELLED)
def test_a_task_that_is_cancelled_from_within_is_a_500_at_once(server: Server, path: str) -> None:
    assert server.request(path)[0] == 500
    server.wait_log("failed")
    server.wait_log("CancelledError")


@pytest.mark.parametrize("name", ERRORS)
def test_in_the_middle_of_a_response_it_closes_the_connection(
    server: Server, shared: tuple[Server, str], name: str
) -> None:
    if name == "stop" and shared[1] in ("wsgi", "threads"):
        return  # that ends an iterator well
    for place in ("/some/", "/other/") if shared[1] == "events" else ("/some/",):
        raw = server.raw(f"GET {place}{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not raw.endswith(b"\r\n0\r\n\r\n")
        server.wait_log("failed")
        server.forget_output()


@pytest.mark.parametrize("shared", ["asgi", "uvloop"], indirect=True)
@pytest.mark.parametrize("name", ERRORS)
def test_a_websocket_is_closed_and_an_opening_refused(server: Server, name: str) -> None:
    with RawSocket(server, f"/{name}") as refused:
        assert refused.status == 500
    server.wait_log(f"failed on WebSocket /{name}")
    with RawSocket(server, f"/some/{name}") as socket:
        frame = socket.receive()
        assert (frame.first & 15, frame.code) == (CLOSE, 1011)
    server.wait_log(f"failed on WebSocket /some/{name}")
