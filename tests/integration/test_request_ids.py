"""What a request is called: in the application, its response and the log, over each protocol."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.apps import APPS
from support.http2 import http2
from support.responses import parse, read_all, read_response
from support.server import Serve, Server
from support.websocket import RawSocket

APP = APPS / "request_ids.py"
MAKE = ("--request-id", "make")
TRUSTED = ("--request-id", "trusted", "--trusted-proxies", "127.0.0.1")
STRANGER = ("--request-id", "trusted", "--trusted-proxies", "192.0.2.1")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
KINDS = {
    "wsgi": ("wsgi",),
    "threads": ("wsgi", "--threads", "2"),
    "asgi": ("asgi",),
    "uvloop": ("asgi", "--loop", "uvloop"),
    "events": ("events",),
}

Start: TypeAlias = Callable[..., Server]


@pytest.fixture(params=list(KINDS))
def start(request: pytest.FixtureRequest, serve: Serve) -> Start:
    """Serves an application of each kind."""
    name, *options = KINDS[request.param]

    def begin(*more: str, **settings: Any) -> Server:
        return serve(Path(f"{APP}:{name}"), "--workers", "1", *options, *more, **settings)

    return begin


def requests(count: int) -> bytes:
    """Requests to send at once; the last one ends the connection."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    return (head + b"\r\n") * (count - 1) + head + b"Connection: close\r\n\r\n"


def ids_of(received: bytes) -> list[str]:
    return [response.headers["x-request-id"] for response in parse(received)]


def asked(server: Server, path: str = "/", **fields: str) -> tuple[dict[str, Any], str | None]:
    """What the application says of its request, and the id in the response."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    status, answered, body = server.request(path, headers=headers)
    assert status == 200, body
    return json.loads(body), answered.get("x-request-id")


def test_without_the_option_nothing_is_called_anything(start: Start) -> None:
    names, field = asked(start(), X_Request_ID="given")
    assert names == {"id": None, "field": "given", "trace": None}
    assert field == "of the application"


def test_an_id_is_made_and_is_the_same_everywhere(start: Start) -> None:
    names, field = asked(start(*MAKE), X_Request_ID="given")
    assert names["id"] == names["field"] == field
    assert uuid.UUID(field).version == 4


def test_that_of_a_trusted_proxy_is_taken(start: Start) -> None:
    server = start(*TRUSTED)
    assert asked(server, X_Request_ID="given-1.~") == (
        {"id": "given-1.~", "field": "given-1.~", "trace": None},
        "given-1.~",
    )
    names, field = asked(server)
    assert names["id"] == names["field"] == field
    assert uuid.UUID(field).version == 4


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", 'a"b', "a\\b", "a,b", "\xe9", "a\x1b"])
def test_one_that_is_not_valid_is_replaced(serve: Serve, given: str) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "1", *TRUSTED)
    if "\x1b" in given:  # refused before
        assert server.raw(f"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {given}\r\n\r\n".encode()).startswith(
            b"HTTP/1.1 400"
        )
        return
    names, field = asked(server, X_Request_ID=given)
    assert names["id"] == names["field"] == field
    assert uuid.UUID(field).version == 4


def test_two_are_replaced(serve: Serve) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "1", *TRUSTED)
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: 7\r\nX-Request-ID: 7\r\nConnection: close\r\n\r\n"
    received = server.raw(head)
    (field,) = re.findall(rb"(?i)\r\nx-request-id: (.*?)\r\n", received)
    assert uuid.UUID(field.decode()).version == 4
    assert json.loads(received.split(b"\r\n\r\n", 1)[1])["field"] == field.decode()


def test_that_of_a_stranger_is_replaced(start: Start) -> None:
    names, field = asked(start(*STRANGER), X_Request_ID="given")
    assert names["id"] == names["field"] == field != "given"


def test_each_request_of_a_connection_has_its_own(start: Start) -> None:
    server = start(*MAKE)
    assert len(set(ids_of(server.raw(requests(20))))) == 20


def test_a_body_does_not_change_it(start: Start) -> None:
    server = start(*TRUSTED)
    status, fields, body = server.request(
        "/reads", "POST", body=b"x" * 300_000, headers={"X-Request-ID": "given"}
    )
    assert (status, fields["x-request-id"], json.loads(body)["id"]) == (200, "given", "given")


def test_no_two_workers_make_the_same(serve: Serve) -> None:
    """Workers are forked from one process: each of them seeds its own generator."""
    server = serve(Path(f"{APP}:wsgi"), "--workers", "4", *MAKE)
    ids: list[str] = []
    for _ in range(10):
        socks = [server.connect() for _ in range(8)]
        for sock in socks:
            sock.sendall(requests(10))
        for sock in socks:
            with sock:
                ids += ids_of(read_all(sock))
    assert sum(worker["requests"] > 0 for worker in server.status()["workers"]) > 1
    assert len(set(ids)) == len(ids) == 800


def test_a_failure_has_it_in_its_response_and_its_line(start: Start) -> None:
    server = start(*TRUSTED, "--log-format", "json")
    headers = {"X-Request-ID": "given-7", "traceparent": TRACEPARENT}
    status, fields, _ = server.request("/fails", headers=headers)
    assert (status, fields["x-request-id"]) == (500, "given-7")
    server.wait_log("a fault")
    assert server.stop() == 0
    (line,) = [line for line in map(json.loads, server.err) if "a fault" in line.get("exception", "")]
    assert (line["request_id"], line["trace_id"]) == ("given-7", TRACE)


def test_a_line_of_text_has_it_too(serve: Serve) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "1", *TRUSTED)
    server.request("/fails", headers={"X-Request-ID": "given-7"})
    assert "prefork.server: [given-7] application wsgi failed" in server.wait_log("a fault")


def test_a_response_that_is_dropped_has_it(serve: Serve) -> None:
    server = serve(Path(f"{APP}:events"), "--workers", "1", *TRUSTED)
    status, fields, _ = server.request("/drops", headers={"X-Request-ID": "given-7"})
    assert (status, fields["x-request-id"]) == (500, "given-7")
    assert "[given-7]" in server.wait_log("dropped its response")


def test_a_malformed_request_gets_one(serve: Serve) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "1", *TRUSTED)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: first\r\n\r\n")
        assert read_response(sock)[1]["x-request-id"] == "first"
        sock.sendall(b"GET /\r\n\r\n")
        status, fields, _ = read_response(sock)
    assert status == 400
    given = fields["x-request-id"]
    assert uuid.UUID(given).version == 4
    assert f"[{given}]" in server.wait_log("400")


def test_a_request_without_a_response_in_time_has_it(serve: Serve) -> None:
    server = serve(
        Path(f"{APPS / 'log_texts.py'}:waits"),
        *("--start", "0", "--request-timeout", "0.2", "--lifespan", "off"),
        *TRUSTED,
    )
    status, fields, _ = server.request("/slow", headers={"X-Request-ID": "given-7"})
    assert (status, fields["x-request-id"]) == (504, "given-7")
    assert "[given-7]" in server.wait_log("had no response in 0.2 s")


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "events"])
def test_http2_has_it(serve: Serve, kind: str) -> None:
    server = serve(Path(f"{APP}:{kind}"), "--workers", "1", "--h2c", *TRUSTED)
    with http2(server) as client:
        response = client.get("/", fields=[("x-request-id", "given-7"), ("traceparent", TRACEPARENT)])
        assert response.fields["x-request-id"] == "given-7"
        assert json.loads(response.body) == {"id": "given-7", "field": "given-7", "trace": TRACEPARENT}
        made = [client.get("/").fields["x-request-id"] for _ in range(3)]
        assert len({uuid.UUID(one) for one in made}) == 3
        failed = client.get("/fails", fields=[("x-request-id", "given-8")])
        assert (failed.status, failed.fields["x-request-id"]) == (500, "given-8")


def test_the_handshake_of_a_websocket_has_it(serve: Serve) -> None:
    server = serve(Path(f"{APP}:asgi"), "--workers", "1", *TRUSTED)
    with RawSocket(server, "/", f"X-Request-ID: given-7\r\ntraceparent: {TRACEPARENT}\r\n") as socket:
        assert socket.status == 101
        assert re.findall(r"(?i)x-request-id: (\S+)", socket.head) == ["given-7"]
        names = json.loads(socket.receive().payload)
    assert names == {"id": "given-7", "field": "given-7", "trace": TRACEPARENT}
    with RawSocket(server, "/fails", "X-Request-ID: given-8\r\n") as socket:
        assert "given-8" in socket.head
    assert "[given-8]" in server.wait_log("a fault")


def test_a_trace_is_passed_on_without_the_option_and_is_in_the_log(serve: Serve) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "1", "--log-format", "json")
    assert asked(server, traceparent=TRACEPARENT)[0]["trace"] == TRACEPARENT
    server.request("/fails", headers={"traceparent": TRACEPARENT})
    server.request("/fails", headers={"traceparent": "00-\x80-x"})
    server.wait_log("a fault")
    assert server.stop() == 0
    failures = [line for line in map(json.loads, server.err) if "exception" in line]
    assert [line.get("trace_id") for line in failures] == [TRACE, None]
    assert not any("request_id" in line for line in failures)


def test_the_response_of_another_worker_has_it(serve: Serve, tmp_path: Path) -> None:
    """A stream that waits behind a stuck one is lent to another worker, which names it."""
    server = serve(APPS / "http2_wsgi.py", "--workers", "2", "--h2c", *TRUSTED)
    release = tmp_path / "release"
    with http2(server) as client:
        stuck = client.ask(f"/block?{release}", fields=[("x-request-id", "stuck")])
        other = client.get("/environ", fields=[("x-request-id", "other")])
        assert other.fields["x-request-id"] == "other"
        assert json.loads(other.body)["prefork.request_id"] == "other"
        release.touch()
        assert client.response(stuck).fields["x-request-id"] == "stuck"


def test_a_websocket_over_http2_has_it(serve: Serve) -> None:
    server = serve(Path(f"{APP}:asgi"), "--workers", "1", "--h2c", *TRUSTED)
    with http2(server) as client:
        pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")]
        stream = client.ask(
            fields=[("sec-websocket-version", "13"), ("x-request-id", "given-7")],
            ended=False,
            pseudo=[*pseudo, (":authority", "test")],
        )
        while not client.streams[stream].status:
            client.read_frame()
        response = client.streams[stream]
        assert (response.status, response.fields["x-request-id"]) == (200, "given-7")


def test_a_worker_in_a_sandbox_makes_them(serve: Serve) -> None:
    server = serve(Path(f"{APP}:wsgi"), "--workers", "2", "--sandbox", "on", *MAKE)
    ids = [asked(server)[1] for _ in range(20)]
    assert len({uuid.UUID(one) for one in ids}) == 20


def test_the_access_log_has_it(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    options = ("--workers", "1", "--access-log", str(log), "--access-log-format", "json")
    server = serve(Path(f"{APP}:wsgi"), *options, *TRUSTED)
    asked(server, X_Request_ID="given-7", traceparent=TRACEPARENT)
    server.request("/fails", headers={"X-Request-ID": "given-8"})
    malformed = server.raw(b"GET /\r\n\r\n")
    assert server.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ids = [line["request_id"] for line in lines]
    assert ids == ["given-7", "given-8", parse(malformed)[0].headers["x-request-id"]]
    assert [line["trace_id"] for line in lines] == [TRACE, None, None]
