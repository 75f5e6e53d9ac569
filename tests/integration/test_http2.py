"""HTTP/2: requests and responses as streams, flow control, the end. What clients may not do is in wire/."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from support import tls
from support.apps import APPS
from support.http2 import (
    CANCEL,
    DATA,
    END_STREAM,
    GOAWAY,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    connect_tls,
    frame,
    http2,
)
from support.server import Serve, Server
from support.waiting import DEADLINE_S, wait_until

WSGI = APPS / "http2_wsgi.py"
ASGI = APPS / "http2_asgi.py"
PLENTY = 0x7FFF_0000


@pytest.fixture(params=[("--h2c",), tls.OPTIONS], ids=["h2c", "tls"])
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How a client comes to speak HTTP/2."""
    options: tuple[str, ...] = request.param
    return options


@pytest.fixture
def wsgi(serve: Serve, way: tuple[str, ...]) -> Server:
    return serve(WSGI, "--workers", "1", *way)


@pytest.fixture
def asgi(serve: Serve, way: tuple[str, ...]) -> Server:
    return serve(ASGI, "--workers", "1", *way)


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def server(serve: Serve, request: pytest.FixtureRequest, way: tuple[str, ...]) -> Server:
    return serve(request.param, "--workers", "1", *way)


def events(client: Http2Client) -> list[str]:
    found: list[str] = json.loads(client.get("/events").body)
    return found


# --- requests and responses --------------------------------------------------------------------------------


def test_a_request_and_its_response(server: Server) -> None:
    with http2(server) as client:
        for _ in range(3):
            response = client.get("/")
            assert (response.status, response.body) == (200, b"hello")
            assert response.fields["content-type"] == "text/plain"
            assert "date" in response.fields
            assert not {"connection", "transfer-encoding", "keep-alive"} & set(response.fields)


def test_http1_is_served_on_the_same_port(server: Server) -> None:
    assert server.get("/") == b"hello"
    assert server.raw(b"PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200 OK"
    )


def test_a_preface_may_come_in_pieces(server: Server) -> None:
    with server.connect(DEADLINE_S, "h2") as sock:
        start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
        for at in range(len(start)):
            sock.sendall(start[at : at + 1])
        assert sock.recv(9)[3] == SETTINGS


def test_without_the_option_it_is_no_request(serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1")
    answer = server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 505 ")


def test_wsgi_sees_a_request_of_http2(wsgi: Server) -> None:
    with http2(wsgi) as client:
        fields = [("cookie", "a=1"), ("x-two", "b"), ("cookie", "c=2")]
        environ = json.loads(client.get("/environ?q=1", fields).body)
    assert environ["SERVER_PROTOCOL"] == "HTTP/2"
    assert environ["HTTP_HOST"] == "test"
    assert environ["HTTP_COOKIE"] == "a=1; c=2"
    assert environ["HTTP_X_TWO"] == "b"
    assert environ["QUERY_STRING"] == "q=1"
    assert environ["wsgi.url_scheme"] == wsgi.url.partition(":")[0]  # whatever :scheme says


def test_asgi_sees_a_request_of_http2(asgi: Server) -> None:
    with http2(asgi) as client:
        scope = json.loads(client.get("/scope", [("x-two", "b")]).body)
    assert scope["http_version"] == "2"
    assert scope["headers"] == [["host", "test"], ["x-two", "b"]]


@pytest.mark.parametrize("size", [0, 1, 16_384, 70_000, 1_000_000])
def test_a_body_of_any_size(server: Server, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    expected = hashlib.sha256(body).hexdigest().encode()
    with http2(server) as client:
        for fields in ([], [("content-length", str(size))]):
            stream = client.ask("/hash", "POST", fields, ended=False)
            client.upload(stream, body)
            assert client.response(stream).body == expected


def test_a_client_is_told_to_continue(server: Server) -> None:
    with http2(server) as client:
        fields = [("expect", "100-continue"), ("content-length", "4")]
        stream = client.ask("/hash", "POST", fields, ended=False)
        response = client.streams[stream]
        while not response.interim:
            client.read_frame()
        client.send(DATA, END_STREAM, stream, b"body")
        assert client.response(stream).body == hashlib.sha256(b"body").hexdigest().encode()
        assert response.interim == [(100, {})]


def test_responses_without_a_body_end_with_their_head(wsgi: Server) -> None:
    with http2(wsgi) as client:
        assert client.response(client.ask("/", "HEAD")).fields["content-length"] == "5"
        assert client.get("/empty").status == 204
        assert client.order == []


def test_trailers_and_hints_of_an_application(asgi: Server) -> None:
    with http2(asgi) as client:
        response = client.get("/trailers")
        assert (response.body, response.trailers) == (b"body", {"x-sum": "1"})
        response = client.get("/hints")
        assert [status for status, _ in response.interim] == [103]
        assert response.body == b"hinted"


@pytest.mark.parametrize("path", ["/parts", "/written"])
def test_a_long_response_comes_whole_through_small_windows(wsgi: Server, path: str) -> None:
    expected = b"".join(b"%05d" % number * 2000 for number in range(200))
    with http2(wsgi) as client:
        assert client.get(path).body == expected


def test_a_file_comes_whole(wsgi: Server) -> None:
    with http2(wsgi) as client:
        assert client.get("/file").body == bytes(range(256)) * 4000


def test_a_response_that_is_too_short_is_reset(wsgi: Server) -> None:
    with http2(wsgi) as client:
        response = client.get("/short")
        assert (response.status, response.reset, response.ended) == (200, INTERNAL_ERROR, False)
        assert client.get("/").body == b"hello"


def test_an_error_in_the_middle_resets_one_stream(asgi: Server) -> None:
    with http2(asgi) as client:
        assert client.get("/fail").reset == INTERNAL_ERROR
        assert client.get("/").body == b"hello"


# --- many streams ------------------------------------------------------------------------------------------


def test_streams_do_not_wait_for_each_other(asgi: Server) -> None:
    with http2(asgi) as client:
        held = client.ask("/hold")
        assert client.get("/").body == b"hello"
        assert not client.streams[held].ended
        client.get("/release")
        assert client.response(held).body == b"released"


def test_streams_that_wait_for_the_application_are_all_served(wsgi: Server) -> None:
    with http2(wsgi) as client, http2(wsgi) as other:
        streams = [client.ask("/sleep?0.01") for _ in range(60)]
        assert other.get("/").body == b"hello"
        waiting = sum(not client.streams[stream].ended for stream in streams)
        assert waiting > 0
        assert {client.response(stream).body for stream in streams} == {b"slept"}


def test_the_log_tells_how_long_a_stream_has_waited(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    flags = ("--access-log", str(log), "--access-log-format", "%(U)s %(wait)s")
    server = serve(WSGI, "--h2c", "--workers", "1", *flags)
    with http2(server) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        streams = [client.ask("/sleep?0.5"), client.ask("/pid")]
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        for stream in streams:
            client.response(stream)
    wait_until(lambda: len(log.read_text().splitlines()) == 2, "a line for each stream")
    waits = {path: float(wait) for path, wait in map(str.split, log.read_text().splitlines())}
    assert waits["/pid"] >= waits["/sleep"] + 0.5


def test_streams_beyond_the_concurrency_begin_if_no_worker_is_spare(serve: Serve) -> None:
    server = serve(ASGI, "--h2c", "--workers", "1", "--concurrency", "3")
    with http2(server) as client:
        held = [client.ask("/hold") for _ in range(10)]
        client.ping()
        # Those that are begun may last, and what waits behind them may be what ends them.
        client.get("/release")
        assert {client.response(stream).body for stream in held} == {b"released"}


def test_threads_serve_streams_side_by_side(serve: Serve) -> None:
    server = serve(WSGI, "--h2c", "--workers", "1", "--threads", "4")
    with http2(server) as client:
        slow = client.ask("/sleep?1")
        assert client.get("/").body == b"hello"
        assert not client.streams[slow].ended
        assert client.response(slow).body == b"slept"


def test_the_urgent_response_goes_first(asgi: Server) -> None:
    with http2(asgi, window=0, opens_windows=False) as client:
        late = client.ask("/flood", fields=[("priority", "u=5")])
        early = client.ask("/flood", fields=[("priority", "u=1")])
        client.ping()
        client.order.clear()
        plenty = PLENTY.to_bytes(4, "big")
        client.sock.sendall(b"".join(frame(WINDOW_UPDATE, 0, stream, plenty) for stream in (0, late, early)))
        client.response(late)
        client.response(early)
        assert client.order[: client.order.index(late)] == [early] * client.order.index(late)
        assert client.order.index(late) >= 4


@pytest.mark.parametrize(
    ("app", "path", "flags"),
    [(ASGI, "/flood", ()), (WSGI, "/parts", ("--threads", "2"))],
    ids=["asgi", "wsgi"],
)
def test_the_urgent_response_goes_first_while_it_is_made(
    serve: Serve, app: Path, path: str, flags: tuple[str, ...], way: tuple[str, ...]
) -> None:
    """Of a client that reads slowly: its application goes on in time, and the system takes little ahead."""
    server = serve(app, "--workers", "1", *flags, *way)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.settimeout(DEADLINE_S)
    sock.connect((server.host, server.port))
    with Http2Client(server.begin(sock, "h2"), window=0, opens_windows=False) as client:
        late, early = (client.ask(path, fields=[("priority", urgency)]) for urgency in ("u=5", "u=1"))
        client.ping()
        client.order.clear()
        plenty = PLENTY.to_bytes(4, "big")
        client.sock.sendall(b"".join(frame(WINDOW_UPDATE, 0, stream, plenty) for stream in (0, late, early)))
        while not client.streams[early].ended:
            client.read_frame()
            time.sleep(0.002)
        # A thread that has room for its part is not always the one of the urgent response.
        assert client.order.count(late) < client.order.count(early) / 2
        client.response(late)


# --- flow control ------------------------------------------------------------------------------------------


def test_a_stream_without_a_window_holds_up_no_other(asgi: Server) -> None:
    with http2(asgi, opens_windows=False) as client:
        client.open_window(0, PLENTY)
        flood = client.ask("/flood")
        while len(client.streams[flood].body) < 65_535:
            client.read_frame()
        assert client.get("/").body == b"hello"
        sent = events(client).count("part")
        assert sent < 10
        client.open_window(flood, PLENTY)
        assert len(client.response(flood).body) == 40 * 50_000 + 3


def test_a_window_may_shrink_and_grow(asgi: Server) -> None:
    with http2(asgi, opens_windows=False, window=100) as client:
        client.open_window(0, PLENTY)
        flood = client.ask("/flood")
        while len(client.streams[flood].body) < 100:
            client.read_frame()
        setting = (4).to_bytes(2, "big")
        client.send(SETTINGS, 0, 0, setting + (10).to_bytes(4, "big"))
        client.ping()
        client.open_window(flood, 90)
        client.ping()
        assert len(client.streams[flood].body) == 100
        client.send(SETTINGS, 0, 0, setting + PLENTY.to_bytes(4, "big"))
        assert len(client.response(flood).body) == 40 * 50_000 + 3


def test_threads_that_wait_for_windows_all_go_on(serve: Serve) -> None:
    """The main thread may read what they wait for, before they do."""
    server = serve(WSGI, "--h2c", "--workers", "1", "--threads", "2")
    plenty = PLENTY.to_bytes(4, "big")
    for _ in range(20):
        with http2(server, window=0, opens_windows=False) as client:
            streams = [client.ask("/parts") for _ in range(2)]
            client.ping()
            client.sock.sendall(b"".join(frame(WINDOW_UPDATE, 0, name, plenty) for name in (0, *streams)))
            assert [len(client.response(stream).body) for stream in streams] == [2_000_000] * 2


def test_a_client_that_reads_nothing_loses_the_stream(serve: Serve) -> None:
    server = serve(ASGI, "--h2c", "--workers", "1", "--send-timeout", "0.3")
    with http2(server, opens_windows=False, window=10) as client:
        assert client.get("/flood").reset == INTERNAL_ERROR


GIANT = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(1 << 30))])
        return (b"x" * (1 << 16) for _ in range(1 << 14))
"""


def test_memory_does_not_grow_with_what_a_client_does_not_read(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve(GIANT, "--workers", "1", *way)
    worker = psutil.Process(server.workers()[0])
    with http2(server, window=1, opens_windows=False) as client:
        before = worker.memory_info().rss
        stream = client.ask("/")
        while len(client.streams[stream].body) < 100:
            client.read_frame()
            client.open_window(stream, 1)
        assert worker.memory_info().rss - before < 4 << 20


# --- the end -----------------------------------------------------------------------------------------------


def test_an_application_hears_of_a_reset(asgi: Server) -> None:
    with http2(asgi) as client:
        held = client.ask("/hold")
        wait_until(lambda: "held" in events(client), "the application")
        client.reset(held)
        wait_until(lambda: "http.disconnect" in events(client), "the disconnect")


def test_a_client_that_closes_its_side_without_a_window_is_not_waited_for(server: Server) -> None:
    """It can open none any more. The time for a send (60 s) need not pass."""
    path = "/parts" if b"wsgi" in server.raw(b"GET / HTTP/1.0\r\n\r\n") else "/flood"
    with http2(server, window=0) as client:
        streams = [client.ask(path), client.ask("/")]
        client.ping()
        client.sock.shutdown(socket.SHUT_WR)
        client.read_to_end()
        assert [client.streams[stream].reset for stream in streams] == [CANCEL, CANCEL]
    assert "ERROR" not in server.log


def test_a_client_that_resets_a_response_is_no_error(server: Server) -> None:
    path = "/parts" if b"wsgi" in server.raw(b"GET / HTTP/1.0\r\n\r\n") else "/flood"
    with http2(server, opens_windows=False) as client:
        client.open_window(0, PLENTY)
        stream = client.ask(path)
        while not client.streams[stream].body:
            client.read_frame()
        client.reset(stream)
        assert client.get("/").body == b"hello"
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_a_server_that_stops_ends_its_streams_first(asgi: Server) -> None:
    with http2(asgi) as client:
        held = client.ask("/hold")
        wait_until(lambda: "held" in events(client), "the application")
        asgi.signal(15)
        while client.goaway is None:
            client.read_frame()
        assert client.goaway.code == NO_ERROR
        refused = client.ask("/")
        assert client.response(refused).reset == 7
        client.reset(held)
        client.read_to_end()
    assert asgi.wait() == 0


def test_an_idle_connection_ends_with_goaway(serve: Serve) -> None:
    server = serve(ASGI, "--h2c", "--workers", "1", "--keep-alive-timeout", "0.2")
    with http2(server) as client:
        client.get("/")
        client.read_to_end()
        assert client.goaway is not None
        assert client.goaway.code == NO_ERROR


def test_a_worker_that_has_served_enough_says_so(serve: Serve) -> None:
    server = serve(WSGI, "--h2c", "--workers", "1", "--max-requests", "3")
    pids = set()
    for _ in range(3):
        with http2(server) as client:
            with contextlib.suppress(EOFError):
                while True:
                    pids.add(client.get("/pid").body)
            assert client.goaway is not None
    assert len(pids) == 3


def test_a_connection_that_has_brought_enough_requests_ends(serve: Serve) -> None:
    server = serve(WSGI, "--h2c", "--workers", "1", "--max-requests-per-connection", "3")
    with http2(server) as client:
        assert [client.get("/").status for _ in range(3)] == [200] * 3
        client.read_to_end()
        assert client.goaway is not None
        assert client.goaway.code == NO_ERROR


def test_an_application_that_is_too_slow(serve: Serve) -> None:
    server = serve(ASGI, "--h2c", "--workers", "1", "--request-timeout", "0.3")
    with http2(server) as client:
        assert client.get("/hold").status == 504
        assert client.get("/").status == 200


def test_it_gets_504_while_the_client_reads_nothing(serve: Serve) -> None:
    """The output of the connection waits then: that stops the time of no stream."""
    server = serve(ASGI, "--h2c", "--workers", "1", "--request-timeout", "1")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(DEADLINE_S)
    sock.connect((server.host, server.port))
    with Http2Client(sock, window=PLENTY) as client:
        client.open_window(0, PLENTY)
        late = client.ask("/hold")  # first: no request is read while the output waits
        floods = [client.ask("/flood") for _ in range(10)]  # more than the buffers of the sockets take
        server.wait_log("GET /hold had no response in 1 s: 504")
        assert client.response(late).status == 504
        for stream in floods:
            assert client.response(stream).body.endswith(b"end")


# --- clients that break the rules --------------------------------------------------------------------------


def test_what_is_too_large_gets_a_response(serve: Serve) -> None:
    server = serve(WSGI, "--h2c", "--workers", "1", "--max-body", "10", "--max-line", "2000")
    with http2(server) as client:
        assert client.get("/" + "a" * 3000).status == 414
        assert client.get("/", [("x", "a" * 3000)]).status == 431
        assert client.get("/", [(f"x-{at}", "a") for at in range(200)]).status == 431
        stream = client.ask("/hash", "POST", [("content-length", "11")], ended=False)
        assert client.response(stream).status == 413
        stream = client.ask("/hash", "POST", body=b"eleven byte")
        assert client.response(stream).status == 413
        assert client.get("/", [("expect", "a-miracle")]).status == 417
        assert client.get("/").status == 200


def test_a_connection_that_is_in_error_says_why(wsgi: Server) -> None:
    with http2(wsgi) as client:
        client.send(DATA, 0, 0, b"x")
        client.read_to_end()
        assert client.goaway is not None
        assert (client.goaway.kind, client.goaway.code) == (GOAWAY, PROTOCOL_ERROR)
        assert b"stream" in client.goaway.payload


# --- over TLS, and by other clients -------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key in one file."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", key, "-out", chain, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both.pem"
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    return both


@pytest.mark.parametrize("app", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_over_tls_the_client_chooses(serve: Serve, certificate: Path, app: Path) -> None:
    server = serve(app, "--tls-cert", str(certificate), "--workers", "1")
    sock = connect_tls(server, certificate, "h2", "http/1.1")
    assert sock.selected_alpn_protocol() == "h2"
    with Http2Client(sock) as client:
        stream = client.ask("/hash", "POST", ended=False)
        client.upload(stream, bytes(200_000))
        assert client.response(stream).body == hashlib.sha256(bytes(200_000)).hexdigest().encode()
    with connect_tls(server, certificate, "http/1.1") as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")
    with connect_tls(server, certificate, "h2") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100)[3] == SETTINGS
    assert server.stop() == 0


H2SPEC_PATH = os.pathsep.join([os.environ.get("PATH", ""), str(Path.home() / "go" / "bin")])
INVALID_PREFACE = "Sends invalid connection preface"


@pytest.mark.parametrize("tls", [False, True], ids=["h2c", "tls"])
def test_h2spec(serve: Serve, certificate: Path, tls: bool) -> None:
    """The cases of github.com/summerwind/h2spec: what a server may not do against RFC 9113 and RFC 7541.

    Without TLS one case cannot pass: what is no preface is a request of HTTP/1.1 there, and gets a response.
    """
    h2spec = shutil.which("h2spec", path=H2SPEC_PATH)
    if h2spec is None:
        pytest.skip("h2spec is not installed: go install github.com/summerwind/h2spec/cmd/h2spec@latest")
    server = serve(WSGI, "--workers", "1", *(["--tls-cert", str(certificate)] if tls else ["--h2c"]))
    port = server.url.rpartition(":")[2]
    command = [h2spec, "-h", "127.0.0.1", "-p", port, "-o", "10", *(["-t", "-k"] if tls else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * DEADLINE_S, check=False)
    failures = {line.split(": ", 1)[1] for line in done.stdout.splitlines() if "\u00d7" in line}
    assert failures <= (set() if tls else {INVALID_PREFACE}), done.stdout
    assert "145 tests" in done.stdout
