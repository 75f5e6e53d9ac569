"""What an ASGI application learns of a request, and how it gets the body."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS, ASGI_APP
from support.leaving import reset
from support.responses import only, read_all, read_response
from support.server import Serve, Server
from support.waiting import wait_until
from support.websocket import RawSocket


def send_head(server: Server, path: str, *fields: str, body: bytes = b"") -> socket.socket:
    sock = server.connect()
    head = "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *fields, "", ""))
    sock.sendall(head.encode() + body)
    return sock


def read_until(sock: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = sock.recv(65536)
        assert piece, received
        received += piece
    return received


def wait_recorded(server: Server, what: str) -> None:
    wait_until(lambda: what in server.get("/records").decode().split(), f"{what} in an application")


def assert_no_traceback(server: Server) -> None:
    server.request("/silent")
    server.wait_log("returned without a response")  # behind whatever was logged before
    assert "Traceback" not in server.log


# The scope


def test_every_line_of_a_field_is_in_the_scope(asgi: Server) -> None:
    lines = [
        b"content-type: a/b",
        b"user-agent: c",
        b"content-type: a/b",
        b"user-agent: d",
        b"cookie: e",
        b"cookie: f",
    ]
    with asgi.connect() as sock:
        sock.sendall(b"GET /shown HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
        scope = literal_eval(read_response(sock)[2].decode())
    assert scope["headers"][1:] == [tuple(line.split(b": ")) for line in lines]


def test_the_scope_says_all_of_a_request(asgi: Server) -> None:
    with asgi.connect() as sock:
        port = sock.getsockname()[1]
        sock.sendall(b"GET /shown?a=%20b HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nX-TWICE: \xe4\r\n\r\n")
        scope = literal_eval(read_response(sock)[2].decode())
    state = scope.pop("state")
    assert state.pop("begun_in") == asgi.pid
    assert state == {"mine": 1}
    assert scope.pop("extensions").keys() == {
        "http.response.early_hint",
        "http.response.trailers",
        "mine",
    }
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/shown",
        "raw_path": b"/shown",
        "query_string": b"a=%20b",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"x-twice", b"1"), (b"x-twice", b"\xe4")],
        "client": ("127.0.0.1", port),
        "server": (asgi.host, asgi.port),
    }


def test_state_and_extensions_are_copies(asgi: Server) -> None:
    assert b"mine" in asgi.get("/shown")
    assert asgi.get("/shared") == b"begun_in"


def test_a_unix_socket_is_the_server(serve: Serve, tmp_path: Path) -> None:
    server = serve(ASGI_APP, "--start", "0", "--bind", f"unix:{tmp_path}/socket")
    response = only(server.raw(b"GET /shown HTTP/1.0\r\n\r\n"))
    scope = literal_eval(response.body.decode())
    assert scope["server"] == (f"{tmp_path}/socket", None)
    assert scope["client"] is None
    assert scope["http_version"] == "1.0"


# The body


def test_a_request_without_a_body_has_an_empty_piece(asgi: Server) -> None:
    assert asgi.request("/echo")[2] == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_small_body_leaves_the_connection_open(asgi: Server, chunked: bool) -> None:
    body = (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"Content-Length: 3\r\n\r\nabc")
    with asgi.connect() as sock:
        for path in (b"/echo", b"/deaf", b"/echo"):
            sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n%s" % (path, body[not chunked]))
            status, fields, response = read_response(sock)
            assert (status, response) == ((413, b"no thanks") if path == b"/deaf" else (200, b"abc"))
            assert "connection" not in fields


def test_a_body_comes_while_the_application_responds(asgi: Server) -> None:
    with send_head(asgi, "/duplex", "Transfer-Encoding: chunked") as sock:
        for number in range(3):
            sock.sendall(b"4\r\nabc%d\r\n" % number)
            read_until(sock, b"4\r\nabc%d\r\n" % number)
        sock.sendall(b"0\r\n\r\n")
        assert read_all(sock) == b"0\r\n\r\n"


def test_the_client_gets_100_continue_when_the_body_is_wanted(asgi: Server) -> None:
    fields = "Expect: 100-continue", "Content-Length: 3"
    with send_head(asgi, "/echo", *fields) as sock:
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert read_response(sock)[2] == b"abc"
    with send_head(asgi, "/deaf", *fields) as sock:
        status, headers, _ = read_response(sock)
        assert (status, headers["connection"]) == (413, "close")


def test_an_upload_is_read_no_faster_than_it_is_taken(asgi: Server) -> None:
    with send_head(asgi, "/waits", f"Content-Length: {1 << 30}") as sock:
        sock.settimeout(1.0)
        asgi.get("/hello")
        sock.sendall(bytes(1 << 20))  # taken: /waits reads on
    with send_head(asgi, "/forever", f"Content-Length: {1 << 30}") as sock:
        sock.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 28:
                sent += sock.send(bytes(1 << 16))
        assert sent < 1 << 26  # what sockets hold, and no more


def test_200_mb_are_uploaded_through_little_memory(asgi: Server) -> None:
    size = 200_000_000
    before_kib = int(asgi.get("/memory"))
    with send_head(asgi, "/count", f"Content-Length: {size}") as sock:
        for _ in range(size // 1_000_000):
            sock.sendall(bytes(1_000_000))
        counted, peak_kib = map(int, read_response(sock)[2].split())
    assert counted == size
    assert peak_kib - before_kib < 8 * 1024


def test_a_wait_for_the_body_may_be_given_up(asgi: Server) -> None:
    with send_head(asgi, "/impatient", "Content-Length: 6") as sock:
        wait_recorded(asgi, "impatient")
        sock.sendall(b"abcdef")
        assert read_response(sock)[2] == b"abcdef"


# Bodies that break the rules


def test_a_broken_body_is_a_bad_request(asgi: Server) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with asgi.connect() as sock:
        sock.sendall(head + b"3\r\nabc\r\n")
        asgi.get("/hello")
        sock.sendall(b"no size\r\n")
        status, headers, _ = read_response(sock)
        assert (status, headers["connection"]) == (400, "close")
    assert only(asgi.raw(head + b"no size\r\n")).status == 400
    asgi.wait_log("400 chunk size")


def test_a_broken_body_ends_a_response_that_has_begun(asgi: Server) -> None:
    with send_head(asgi, "/duplex", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n") as sock:
        read_until(sock, b"3\r\nabc\r\n")
        sock.sendall(b"no size\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(65536) == b""
    asgi.wait_log("400 chunk size")
    assert asgi.get("/hello") == b"hello"


def test_a_slow_body_is_timed_out_only_while_it_is_wanted(serve: Serve) -> None:
    server = serve(ASGI_APP, "--start", "0", "--body-min-rate", "1000")
    with (
        send_head(server, "/echo", "Content-Length: 100", body=b"a") as slow,
        send_head(server, "/events", "Content-Length: 100", body=b"a") as unread,
    ):
        status, _, _ = read_response(slow)
        assert status == 408
        server.get("/go")
        assert read_response(unread)[2] == b"data: begin\n\ndata: end\n\n"
    server.wait_log("408 the request body came too slowly")


# Clients that leave


@contextlib.contextmanager
def leaving(server: Server, path: str, *fields: str, body: bytes = b"") -> Iterator[socket.socket]:
    with send_head(server, path, *fields, body=body) as sock:
        yield sock


def test_an_application_learns_that_its_client_left(asgi: Server) -> None:
    with leaving(asgi, "/waits", "Content-Length: 3", body=b"abc") as sock:
        wait_recorded(asgi, "waiting")
        reset(sock)
    wait_until(lambda: asgi.get("/records") == b"waiting http.disconnect http.disconnect", "two disconnects")
    assert_no_traceback(asgi)


def test_an_application_hears_it_in_the_middle_of_the_body(asgi: Server) -> None:
    with leaving(asgi, "/count", "Content-Length: 3", body=b"a"):
        asgi.get("/hello")
    asgi.wait_log("left in the middle of a request body")
    asgi.wait_log("KeyError: 'body'")  # it took the message for a piece
    assert asgi.get("/hello") == b"hello"


def test_an_application_hears_that_its_response_is_complete(asgi: Server) -> None:
    with asgi.connect() as sock:
        for path in ("/after", "/watched"):
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert read_response(sock)[0] == 200
        assert asgi.get("/records") == b"http.request http.disconnect http.disconnect"


def test_sending_after_that_raises_an_oserror(asgi: Server) -> None:
    with leaving(asgi, "/forever") as sock:
        assert len(sock.recv(1000))
    wait_recorded(asgi, "ConnectionGone")
    assert_no_traceback(asgi)


def test_one_hundred_leave_and_nothing_is_left(asgi: Server) -> None:
    before = asgi.descriptors()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(leaving(asgi, "/waits"))
        wait_until(lambda: asgi.get("/records").split().count(b"waiting") == 100, "100 that wait")
    wait_until(lambda: asgi.get("/records").split().count(b"http.disconnect") == 200, "100 that received it")
    wait_until(lambda: asgi.descriptors() <= before, "the descriptors of the clients that left")


# Tasks


def test_a_call_is_an_ordinary_task(asgi: Server) -> None:
    for _ in range(3):
        assert asgi.get("/tasks") == b"[0, 1, 2]"


def test_anyio_knows_its_loop(asgi: Server) -> None:
    assert asgi.get("/threads") == b"from a thread"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_debug_mode_of_asyncio_names_what_blocks_the_loop(serve: Serve, loop: str) -> None:
    server = serve(ASGI_APP, "--workers", "1", "--loop", loop, env={"PYTHONASYNCIODEBUG": "1"})
    assert server.get("/blocks") == b"at last"
    assert "asyncio: Executing the first step of GET /blocks took 0." in server.wait_log("took")


def test_an_object_is_an_application(serve: Serve) -> None:
    server = serve(Path(f"{ASGI_APP}:wrapped"), "--start", "0", "--interface", "asgi")
    assert server.get("/tasks") == b"[0, 1, 2]"


def test_many_at_once(asgi: Server) -> None:
    import httpx

    async def get_all() -> list[Any]:
        async with httpx.AsyncClient(base_url=asgi.url) as client:
            asked = (client.post("/echo", content=b"%d" % number) for number in range(200))
            return [response.content for response in await asyncio.gather(*asked)]

    assert asyncio.run(get_all()) == [b"%d" % number for number in range(200)]


POLLS = APPS / "asgi_polls.py"


def test_repeated_checks_for_a_disconnect_keep_nothing(serve: Serve) -> None:
    server = serve(POLLS, "--lifespan", "off")
    assert int(server.get("/")) < 5
    with RawSocket(server, "/") as sock:
        assert int(sock.receive().payload) < 5
