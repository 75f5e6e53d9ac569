"""HTTP/2: a stream that its worker cannot begin is served by another one, on the same connection."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tls
from support.apps import APPS
from support.http2 import (
    DATA,
    END_STREAM,
    INTERNAL_ERROR,
    NO_ERROR,
    SETTINGS,
    Http2Client,
    connect_tls,
    http2,
)
from support.processes import alive
from support.server import Serve, Server
from support.waiting import wait_until
from support.websocket import BINARY, CLOSE, LAST, TEXT, frame

WSGI = APPS / "http2_wsgi.py"
ASGI = APPS / "http2_asgi.py"
TLS_APP = APPS / "tls_app.py"

QUICK_S = 0.2
"""Far more than it takes, and far less than any handler here is stuck."""


def begin(serve: Serve, app: Path, workers: int, *options: str) -> Server:
    """Serve with that many workers, all of them ready."""
    server = serve(app, "--workers", str(workers), *(options or ("--h2c",)))
    wait_until(lambda: server.status()["totals"]["spare"] == workers, "the workers")
    return server


@pytest.fixture
def wsgi(serve: Serve) -> Server:
    return begin(serve, WSGI, 3)


@pytest.fixture
def asgi(serve: Serve) -> Server:
    return begin(serve, ASGI, 3)


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    return begin(serve, request.param, 3)


class Owner:
    """A connection whose worker is stuck in one of its streams."""

    def __init__(self, client: Http2Client, file: Path) -> None:
        self.client = client
        self.file = file
        self.pid = int(client.get("/pid").body)
        self.stream = client.ask(f"/block?{file}")
        begun(file)

    def release(self) -> None:
        self.file.touch()
        assert int(self.client.response(self.stream).body) == self.pid


def begun(file: Path) -> int:
    """Wait until a worker waits for this file, and return its pid."""
    note = file.with_name(file.name + ".begun")
    wait_until(lambda: note.exists() and note.read_text(), "a handler that waits")
    return int(note.read_text())


@contextlib.contextmanager
def stuck(server: Server, directory: Path, **settings: int) -> Iterator[Owner]:
    with http2(server, **settings) as client:
        owner = Owner(client, directory / "stuck")
        try:
            yield owner
        finally:
            owner.file.touch()


def totals(server: Server) -> tuple[int, int]:
    found = server.status()["totals"]
    return found["handed_off"], found["adopted"]


# --- a stream that waits behind a stuck handler -------------------------------------------------------------


def test_a_spare_serves_it(server: Server, tmp_path: Path) -> None:
    before = totals(server)
    with stuck(server, tmp_path) as owner:
        began = time.monotonic()
        pid = int(owner.client.get("/pid").body)
        took_s = time.monotonic() - began
        print(f"served after {took_s * 1000:.1f} ms")
        assert pid != owner.pid
        assert took_s < QUICK_S
        wait_until(
            lambda: totals(server) == (before[0] + 1, before[1] + 1),
            "it is counted",
        )
        owner.release()
        assert int(owner.client.get("/pid").body) == owner.pid
    assert "lost" not in server.log


def test_many_at_once(server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as owner:
        streams = [owner.client.ask("/pid") for _ in range(60)]
        pids = {int(owner.client.response(stream).body) for stream in streams}
        assert owner.pid not in pids
        owner.release()


def test_they_come_in_the_same_packets_as_the_slow_one(server: Server, tmp_path: Path) -> None:
    """The first stream is begun while the others are read and not begun."""
    file = tmp_path / "slow"
    with http2(server) as client:
        pid = int(client.get("/pid").body)
        slow = client.ask(f"/block?{file}")
        others = [client.ask("/pid") for _ in range(10)]
        pids = {int(client.response(stream).body) for stream in others}
        assert pid not in pids
        file.touch()
        assert int(client.response(slow).body) == pid


def test_those_of_other_connections_of_the_worker_too(wsgi: Server, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        by_pid: dict[int, list[Http2Client]] = {}
        while max(map(len, by_pid.values()), default=0) < 2:
            client = stack.enter_context(http2(wsgi))
            by_pid.setdefault(int(client.get("/pid").body), []).append(client)
        ((first, second),) = [clients for clients in by_pid.values() if len(clients) == 2]
        owner = Owner(first, tmp_path / "stuck")
        assert int(second.get("/pid").body) != owner.pid
        owner.release()


def test_the_connection_goes_on_meanwhile(wsgi: Server, tmp_path: Path) -> None:
    with stuck(wsgi, tmp_path) as owner:
        began = time.monotonic()
        owner.client.ping()
        owner.client.send(SETTINGS)
        owner.client.ping()
        assert time.monotonic() - began < QUICK_S
        owner.release()


def test_threads_that_are_all_busy(serve: Serve, tmp_path: Path) -> None:
    """The main thread lends by itself: it is not stuck."""
    server = begin(serve, WSGI, 2, "--h2c", "--threads", "2")
    with http2(server) as client:
        pid = int(client.get("/pid").body)
        slow = [client.ask(f"/block?{tmp_path / name}") for name in "ab"]
        for name in "ab":
            assert begun(tmp_path / name) == pid
        began = time.monotonic()
        assert int(client.get("/pid").body) != pid
        assert time.monotonic() - began < QUICK_S
        for name in "ab":
            (tmp_path / name).touch()
        for stream in slow:
            assert int(client.response(stream).body) == pid


def test_without_a_spare_it_waits_and_others_go_on(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2)
    with stuck(server, tmp_path) as owner:
        file = tmp_path / "second"
        second = owner.client.ask(f"/block?{file}")
        assert begun(file) != owner.pid
        third = owner.client.ask("/pid")
        owner.client.ping()
        assert not owner.client.streams[third].status
        file.touch()
        assert int(owner.client.response(second).body) == int(owner.client.response(third).body)
        owner.release()


# --- requests and responses ---------------------------------------------------------------------------------


def test_the_application_sees_the_request_of_the_client(wsgi: Server, tmp_path: Path) -> None:
    fields = [("cookie", "a=1"), ("x-two", "b"), ("cookie", "c=2"), ("te", "trailers")]
    with stuck(wsgi, tmp_path) as owner:
        lent = owner.client.get("/environ?q=1", fields)
        owner.release()
        own = owner.client.get("/environ?q=1", fields)
    assert json.loads(lent.body) == json.loads(own.body)
    assert json.loads(lent.body)["SERVER_PROTOCOL"] == "HTTP/2"
    assert lent.fields.keys() == own.fields.keys()


def test_an_asgi_application_sees_it_too(asgi: Server, tmp_path: Path) -> None:
    fields = [("x-two", "b")]
    with stuck(asgi, tmp_path) as owner:
        lent = owner.client.response(owner.client.ask("/scope", "POST", fields, body=b"body"))
        owner.release()
        own = owner.client.response(owner.client.ask("/scope", "POST", fields, body=b"body"))
    assert json.loads(lent.body) == json.loads(own.body)
    assert json.loads(lent.body)["http_version"] == "2"


def test_what_proxies_say_holds(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2)
    fields = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")]
    with stuck(server, tmp_path) as owner:
        lent = json.loads(owner.client.get("/environ", fields).body)
        owner.release()
        own = json.loads(owner.client.get("/environ", fields).body)
    assert (lent["REMOTE_ADDR"], lent["wsgi.url_scheme"]) == ("192.0.2.7", "https")
    assert lent == own


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_a_body_of_any_size(server: Server, tmp_path: Path, size: int, declared: bool) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    fields = [("content-length", str(size))] if declared else []
    with stuck(server, tmp_path) as owner:
        stream = owner.client.ask("/hash", "POST", fields, ended=False)
        owner.client.upload(stream, body)
        assert owner.client.response(stream).body == hashlib.sha256(body).hexdigest().encode()
        owner.release()


def test_a_client_that_expects_100(server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as owner:
        client = owner.client
        fields = [("expect", "100-continue"), ("content-length", "5")]
        stream = client.ask("/hash", "POST", fields, ended=False)
        while not client.streams[stream].interim:
            client.read_frame()
        assert client.streams[stream].interim == [(100, {})]
        client.upload(stream, b"hello")
        assert client.response(stream).body == hashlib.sha256(b"hello").hexdigest().encode()
        owner.release()


def test_responses_of_each_kind(wsgi: Server, tmp_path: Path) -> None:
    with stuck(wsgi, tmp_path) as owner:
        client = owner.client
        head = client.response(client.ask("/", "HEAD"))
        assert (head.status, head.body, head.fields["content-length"]) == (200, b"", "5")
        empty = client.get("/empty")
        assert (empty.status, empty.body, "content-length" in empty.fields) == (204, b"", False)
        unchanged = client.get("/unchanged")
        assert (unchanged.status, unchanged.body, unchanged.fields["etag"]) == (304, b"", '"a"')
        parts = b"".join(b"%05d" % number * 2000 for number in range(200))
        for path in ("/parts", "/written"):
            response = client.get(path)
            assert response.body == parts
            assert not {"transfer-encoding", "connection", "content-length"} & response.fields.keys()
        assert client.get("/file").body == bytes(range(256)) * 4000
        assert client.get("/short").reset == INTERNAL_ERROR
        owner.release()


def test_trailers_hints_and_failures(asgi: Server, tmp_path: Path) -> None:
    with stuck(asgi, tmp_path) as owner:
        response = owner.client.get("/trailers", [("te", "trailers")])
        assert (response.body, response.trailers) == (b"body", {"x-sum": "1"})
        hinted = owner.client.get("/hints")
        assert hinted.interim == [(103, {"link": "</style.css>; rel=preload; as=style"})]
        assert hinted.body == b"hinted"
        assert owner.client.get("/fail").reset == INTERNAL_ERROR
        owner.release()


def test_a_body_that_is_too_large(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2, "--h2c", "--max-body", "1000")
    with stuck(server, tmp_path) as owner:
        before = totals(server)
        stream = owner.client.ask("/hash", "POST", ended=False)
        wait_until(lambda: totals(server)[1] > before[1], "the other worker to have it")
        owner.client.send(DATA, END_STREAM, stream, bytes(2000))
        assert owner.client.response(stream).status == 413
        assert owner.client.get("/pid").status == 200
        owner.release()


# --- WebSockets ---------------------------------------------------------------------------------------------


def connect_websocket(client: Http2Client, path: str) -> int:
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path)]
    fields = [("sec-websocket-version", "13")]
    stream = client.ask(fields=fields, ended=False, pseudo=[*pseudo, (":authority", "test")])
    while not client.streams[stream].status:
        client.read_frame()
    return stream


def test_a_websocket(asgi: Server, tmp_path: Path) -> None:
    with stuck(asgi, tmp_path) as owner:
        client, file = owner.client, tmp_path / "closed"
        stream = connect_websocket(client, f"/?{file}")
        response = client.streams[stream]
        assert response.status == 200
        assert not {"sec-websocket-accept", "upgrade", "connection"} & response.fields.keys()
        message = bytes(range(256)) * 400
        client.send(DATA, 0, stream, frame(BINARY, b"hello"))
        wait_until(lambda: client.read_frame() and b"hello" in response.body, "an echo")
        first, version = response.body[0], response.body[2:].split()[0]
        assert (first, version) == (LAST | TEXT, b"2")
        assert str(owner.pid).encode() not in response.body
        sent = frame(BINARY, message)
        response.body = b""
        while sent:
            room = min(client.windows[0], client.windows[stream], 16_384)
            if not room:
                client.read_frame()
                continue
            client.send(DATA, 0, stream, sent[:room])
            for name in (0, stream):
                client.windows[name] -= len(sent[:room])
            sent = sent[room:]
        wait_until(lambda: client.read_frame() and response.body.endswith(message[-500:]), "the message")
        client.send(DATA, END_STREAM, stream, frame(CLOSE, (1000).to_bytes(2, "big")))
        client.response(stream)
        assert response.reset in (None, NO_ERROR)
        wait_until(file.exists, "the end of the WebSocket")
        owner.release()


def test_a_websocket_that_is_refused(server: Server, tmp_path: Path) -> None:
    with stuck(server, tmp_path) as owner:
        stream = connect_websocket(owner.client, "/refused")
        is_asgi = "asgi" in str(server.process.args)
        assert owner.client.response(stream).status == (403 if is_asgi else 405)
        owner.release()


# --- who leaves, and who does not read ----------------------------------------------------------------------


def test_a_reset_ends_the_request_in_the_other_worker(asgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "left"
    with stuck(asgi, tmp_path) as owner:
        stream = owner.client.ask(f"/leave?{file}")
        assert begun(file) != owner.pid
        owner.client.reset(stream)
        wait_until(lambda: file.exists() and file.read_text() == "http.disconnect", "the disconnect")
        assert owner.client.get("/pid").status == 200
        owner.release()


def test_so_does_a_reset_of_the_connection(asgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "left"
    with stuck(asgi, tmp_path) as owner:
        owner.client.ask(f"/leave?{file}")
        begun(file)
        owner.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        owner.client.sock.close()
        wait_until(lambda: file.exists() and file.read_text() == "http.disconnect", "the disconnect")


def test_a_client_that_does_not_read_holds_back_its_stream_only(wsgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "taken"
    with stuck(wsgi, tmp_path, opens_windows=False) as owner:
        client = owner.client
        stream = client.ask(f"/flood?{file}")
        client.open_window(0, 1_000_000)
        wait_until(lambda: file.exists() and file.read_text(), "the first parts")
        while len(client.streams[stream].body) < 65_535:
            client.read_frame()

        def is_still() -> bool:
            before = file.read_text()
            time.sleep(0.1)
            return before == file.read_text()

        wait_until(is_still, "the other worker to wait")
        assert int(file.read_text()) < 100
        assert client.get("/pid").status == 200
        client.opens_windows = True
        client.open_window(stream, 65_535)
        client.response(stream)
        assert client.streams[stream].body == b"".join(b"%05d" % n * 10_000 for n in range(400))
        owner.release()


# --- processes that end -------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_before_its_response(wsgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "killed"
    with stuck(wsgi, tmp_path) as owner:
        stream, other = owner.client.ask(f"/block?{file}"), tmp_path / "other"
        pid = begun(file)
        second = owner.client.ask(f"/block?{other}")
        assert begun(other) not in (pid, owner.pid)
        os.kill(pid, signal.SIGKILL)
        response = owner.client.response(stream)
        assert (response.status, response.fields["content-type"]) == (502, "text/plain")
        other.touch()
        assert owner.client.response(second).status == 200
        owner.release()
        wsgi.wait_log(f"GET /block?{file}: no whole response: the worker that served it has ended")


def test_a_worker_that_is_killed_in_the_middle_of_one(wsgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "killed"
    with stuck(wsgi, tmp_path) as owner:
        stream = owner.client.ask(f"/begun?{file}")
        os.kill(begun(file), signal.SIGKILL)
        response = owner.client.response(stream)
        assert (response.status, response.reset) == (200, INTERNAL_ERROR)
        assert owner.client.get("/pid").status == 200
        owner.release()
        wsgi.wait_log(f"GET /begun?{file}: no whole response")


def test_an_owner_that_is_killed(asgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "left"
    with stuck(asgi, tmp_path) as owner:
        owner.client.ask(f"/leave?{file}")
        other = begun(file)
        os.kill(owner.pid, signal.SIGKILL)
        owner.client.read_to_end()
        wait_until(lambda: file.exists() and file.read_text() == "http.disconnect", "the disconnect")
        assert alive(other)


def test_an_owner_that_retires_finishes_what_it_has_lent(asgi: Server, tmp_path: Path) -> None:
    file = tmp_path / "lent"
    with stuck(asgi, tmp_path) as owner:
        stream = owner.client.ask(f"/block?{file}")
        assert begun(file) != owner.pid
        os.kill(owner.pid, signal.SIGTERM)
        owner.release()
        file.touch()
        assert owner.client.response(stream).status == 200
        owner.client.read_to_end()
        assert owner.client.goaway is not None
        wait_until(lambda: not alive(owner.pid), "its end")


def test_a_server_that_stops_finishes_what_is_lent(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2)
    file = tmp_path / "lent"
    with stuck(server, tmp_path) as owner:
        stream, waits = owner.client.ask(f"/block?{file}"), owner.client.ask("/pid")
        begun(file)
        owner.client.ping()
        server.signal(signal.SIGTERM)
        time.sleep(0.1)
        owner.release()
        file.touch()
        assert owner.client.response(stream).status == 200
        assert owner.client.response(waits).status == 200
        owner.client.read_to_end()
    assert server.wait() == 0


# --- TLS ----------------------------------------------------------------------------------------------------


def test_what_tls_has_settled_is_the_same(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2, *tls.OPTIONS)
    with Http2Client(connect_tls(server, tls.CERT, "h2")) as client:
        owner = Owner(client, tmp_path / "stuck")
        lent = json.loads(client.get("/environ").body)
        owner.release()
        own = json.loads(client.get("/environ").body)
    assert lent == own
    assert (lent["wsgi.url_scheme"], lent["SSL_PROTOCOL"]) == ("https", "TLSv1.3")


def test_a_connection_that_has_only_shaken_hands_moves(serve: Serve, tmp_path: Path) -> None:
    server = begin(serve, WSGI, 2, *tls.OPTIONS)
    socks = [connect_tls(server, tls.CERT, "h2") for _ in range(8)]
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Http2Client(socks[0]))
        owner = Owner(first, tmp_path / "stuck")
        for sock in socks[1:]:
            client = stack.enter_context(Http2Client(sock))
            assert int(client.get("/pid").body) != owner.pid
        owner.release()
