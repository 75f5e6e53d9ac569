"""The messages of an ASGI application as bytes on the wire."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.apps import ASGI_APP
from support.responses import only, parse, read_response
from support.server import Serve, Server
from support.waiting import wait_until

SUBSCRIBERS = 500


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def test_one_message_has_a_length_and_several_have_chunks(asgi: Server) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/hello"))
        status, fields, body = read_response(sock)
        assert (status, fields["content-length"], body) == (200, "5", b"hello")
        sock.sendall(get("/pieces"))
        status, fields, body = read_response(sock)
        assert (status, fields["transfer-encoding"], body) == (200, "chunked", b"one two three")
        sock.sendall(get("/hello"))
        assert read_response(sock)[2] == b"hello"


def test_pieces_of_one_turn_leave_together(asgi: Server) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/pieces"))
        assert sock.recv(65536).endswith(b"0\r\n\r\n")


def test_http_1_0_gets_its_pieces_until_the_end(asgi: Server) -> None:
    response = only(asgi.raw(b"GET /pieces HTTP/1.0\r\n\r\n"))
    assert (response.headers["connection"], response.body) == ("close", b"one two three")


def test_head_has_the_head_alone(asgi: Server) -> None:
    raw = asgi.raw(get("/hello", method="HEAD") + get("/pieces", "Connection: close", method="HEAD"))
    hello, pieces = parse(raw, bodiless=True)
    assert hello.headers["content-length"] == "5"
    assert pieces.status == 200


@pytest.mark.parametrize(
    ("method", "status", "version"),
    [("HEAD", 200, "1.1"), ("HEAD", 200, "1.0"), ("GET", 204, "1.1"), ("GET", 304, "1.1")],
)
def test_a_response_without_a_body_is_complete_with_its_head_and_ends_a_stream(
    asgi: Server, method: str, status: int, version: str
) -> None:
    ask = f"{method} /forever?{status} HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    with asgi.connect() as sock:
        sock.sendall(ask.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(65536)
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        if b"Connection: close" not in head:
            sock.sendall(get("/hello"))
            assert read_response(sock)[2] == b"hello"
    wait_until(lambda: b"ConnectionGone" in asgi.get("/records"), "the stream to end")
    assert asgi.log == ""


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_has_no_body(asgi: Server, status: int) -> None:
    with asgi.connect() as sock:
        for _ in range(2):
            sock.sendall(get(f"/status?{status}"))
            reported, fields, body = read_response(sock)
            assert (reported, fields["etag"], body) == (status, '"1"', b"")
            assert not fields.keys() & {"content-length", "transfer-encoding"}


def test_the_application_may_close_the_connection(asgi: Server) -> None:
    assert only(asgi.raw(get("/closing") * 2)).body == b"last"


def test_the_client_may_close_the_connection(asgi: Server) -> None:
    response = only(asgi.raw(get("/hello", "Connection: close")))
    assert (response.headers["connection"], response.body) == ("close", b"hello")


def test_pipelined_requests_are_served_in_order(asgi: Server) -> None:
    paths = ["/hello", "/pieces", "/tasks", "/hello"] * 5
    raw = asgi.raw(b"".join(map(get, paths)) + get("/closing"))
    bodies = [response.body for response in parse(raw)]
    assert bodies == [b"hello", b"one two three", b"[0, 1, 2]", b"hello"] * 5 + [b"last"]


# Extensions


def test_trailers_follow_the_body(asgi: Server) -> None:
    with asgi.connect() as sock:
        for _ in range(2):
            sock.sendall(get("/trailers"))
            raw = b""
            while not raw.endswith(b"yes\r\n\r\n"):
                raw += sock.recv(65536)
            head, _, body = raw.partition(b"\r\n\r\n")
            assert b"\r\nTransfer-Encoding: chunked" in head
            assert body == b"4\r\nbody\r\n0\r\nx-sum: 1\r\nx-done: yes\r\n\r\n"


def test_header_fields_may_be_any_iterables_of_two_byte_strings(asgi: Server) -> None:
    head, _, body = asgi.raw(get("/shaped", "Connection: close")).partition(b"\r\n\r\n")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"x-")] == [
        b"x-one: 1",
        b"x-two: 2",
        b"x-three: 3",
    ]
    assert body.endswith(b"\r\nx-sum: 1\r\n\r\n")


def test_an_end_that_comes_while_a_piece_waits_releases_its_sender(asgi: Server) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/hurried", "Connection: close"))
        assert len(read_response(sock)[2]) == 8_000_003
    wait_until(lambda: b"both" in asgi.get("/records"), "both to return")


def test_a_client_that_knows_no_trailers_gets_none(asgi: Server) -> None:
    assert only(asgi.raw(b"GET /trailers HTTP/1.0\r\n\r\n")).body == b"body"
    assert parse(asgi.raw(get("/trailers", "Connection: close", method="HEAD")), bodiless=True)


def test_early_hints_come_before_the_response(asgi: Server) -> None:
    raw = asgi.raw(get("/hints", "Connection: close"))
    interim, found, rest = raw.partition(b"\r\n\r\n")
    assert interim.split(b"\r\n") == [
        b"HTTP/1.1 103 Early Hints",
        b"link: </style.css>; rel=preload",
        b"link: </script.js>; rel=preload",
    ]
    assert found
    assert only(rest).body == b"hinted"
    assert only(asgi.raw(b"GET /hints HTTP/1.0\r\n\r\n")).body == b"hinted"


def test_curl_understands_hints_and_trailers(asgi: Server) -> None:
    for path, expected in (("/hints", "103 Early Hints"), ("/trailers", "x-done: yes")):
        done = subprocess.run(
            ["curl", "-sS", "-i", "--max-time", "5", asgi.url + path],
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in done.stdout


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_file_is_sent_by_its_path(serve: Serve, loop: str, tmp_path: Path) -> None:
    asgi = serve(ASGI_APP, "--start", "0", "--loop", loop, "--pathsend")
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    with asgi.connect() as sock:
        for _ in range(2):
            sock.sendall(get(f"/file?{path}"))
            status, fields, body = read_response(sock)
            assert (status, fields["content-length"], body) == (200, "300000", path.read_bytes())
    status, _, _ = asgi.request(f"/file?{path}.missing")
    assert status == 500
    asgi.wait_log("FileNotFoundError")


# Much of it


def test_a_slow_reader_holds_its_application_up(asgi: Server) -> None:
    before_kib = int(asgi.get("/memory"))
    with asgi.connect(timeout_s=30.0) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(get("/large?200", "Connection: close"))
        assert asgi.get("/hello") == b"hello"
        received = 0
        while piece := sock.recv(1 << 20):
            received += len(piece)
    assert received > 200 << 20
    assert int(asgi.get("/memory")) - before_kib < 16 * 1024


def test_500_clients_hear_of_an_event(asgi: Server) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * SUBSCRIBERS:
        pytest.skip(f"only {most} descriptors")
    begun = b"data: begin\n\n"
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        clients = [stack.enter_context(asgi.connect()) for _ in range(SUBSCRIBERS)]
        recorded = dict.fromkeys(clients, b"")
        for client in clients:
            client.sendall(get("/events", "Connection: close"))
            selector.register(client, selectors.EVENT_READ)

        def read() -> None:
            for key, _ in selector.select(0.1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                piece = client.recv(65536)
                recorded[client] += piece
                if not piece:
                    selector.unregister(client)

        def all_heard(what: bytes) -> bool:
            read()
            return all(what in raw for raw in recorded.values())

        wait_until(lambda: all_heard(begun), "500 first events")
        assert asgi.get("/go") == b"gone"
        begin = time.monotonic()
        wait_until(lambda: all_heard(b"0\r\n\r\n"), "500 second events")
        assert time.monotonic() - begin < 5.0
    assert {only(raw).body for raw in recorded.values()} == {b"data: begin\n\ndata: end\n\n"}


# Processes and loops


@pytest.mark.parametrize(
    ("said", "name"), [("auto", "EngineLoop"), ("asyncio", "EngineLoop"), ("uvloop", "UVLoop")]
)
def test_workers_run_the_loop_that_was_asked_for(serve: Serve, said: str, name: str) -> None:
    server = serve(ASGI_APP, "--workers", "2", "--loop", said)
    assert server.get("/loop").decode() == name
    wait_until(lambda: len(server.workers("spare")) == 2, "both workers")
    assert int(server.get("/pid")) in server.workers()
    assert server.stop() == 0
    assert server.log.count("shut down") == 2


def test_a_worker_on_uvloop_is_replaced_and_none_is_lost(serve: Serve) -> None:
    server = serve(ASGI_APP, "--workers", "2", "--loop", "uvloop", "--max-requests", "50")
    pids = {server.get("/pid") for _ in range(300)}
    assert len(pids) >= 4
    assert server.stop() == 0


def test_a_worker_on_uvloop_ends_with_its_manager(serve: Serve) -> None:
    server = serve(ASGI_APP, "--workers", "1", "--loop", "uvloop")
    pid = int(server.get("/pid"))
    server.signal(signal.SIGKILL)
    server.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker's end")


def test_open_requests_are_served_before_it_ends(asgi: Server) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/waits"))
        wait_until(lambda: asgi.get("/records") == b"waiting", "it to wait for its client")
        with asgi.connect() as other:
            other.sendall(get("/hello"))
            assert read_response(other)[2] == b"hello"
            asgi.signal(signal.SIGTERM)
            asgi.wait_log("stopping when all requests are finished")
        with pytest.raises(subprocess.TimeoutExpired):
            asgi.process.wait(0.2)
    assert asgi.wait() == 0
    assert "shut down" in asgi.log
