"""Each example, served as its first lines describe, and requested by curl or Python."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import websockets.sync.client

from support.server import Serve, Server
from support.waiting import DEADLINE_S, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
PROXY = EXAMPLES / "proxy.py"


def test_every_example_is_served_and_tested() -> None:
    tested = {"asgi.py", "basic_auth.py", "hooks.py", "proxy.py", "stream.py", "synopsis.py", "wsgi.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_no_example_hides_a_standard_module_from_the_others() -> None:
    """`python examples/synopsis.py` puts the examples first on the path."""
    assert not {path.stem for path in EXAMPLES.glob("*.py")} & sys.stdlib_module_names


# --- synopsis.py --------------------------------------------------------------------------------------------


def test_the_synopsis_responds_with_its_four_handlers(serve: Serve) -> None:
    server = serve(EXAMPLES / "synopsis.py", "--start", "2", "--min-spare", "1", "--max-spare", "3")
    assert server.get("/bar/1").decode() == f"Hi, you fetched http://127.0.0.1:{server.port}/bar/1\n"
    page = server.get("/").decode()
    assert any(f"Worker {pid} says hello" in page for pid in server.workers())
    assert server.raw(b"GET /foo/1 HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    status, _, body = server.request("/elsewhere")
    assert (status, body) == (404, b"Hi visitor from 127.0.0.1, there is no /elsewhere\n")
    assert server.stop() == 0


# --- stream.py ----------------------------------------------------------------------------------------------


def test_stream_counts_down_by_events(serve: Serve) -> None:
    server = serve(EXAMPLES / "stream.py")
    assert server.get("/countdown") == b"3\n2\n1\n0\n"


def test_stream_is_sent_piece_by_piece(serve: Serve) -> None:
    server = serve(EXAMPLES / "stream.py")
    with server.connect() as sock:
        sock.sendall(b"GET /clock HTTP/1.0\r\n\r\n")
        received = b""
        while received.count(b"data: ") < 2:
            received += sock.recv(4096)
    assert b"Content-Type: text/event-stream" in received
    assert server.get("/source") == (EXAMPLES / "stream.py").read_bytes()
    assert "Traceback" not in server.log


# --- hooks.py -----------------------------------------------------------------------------------------------


def test_hooks_hear_everything(serve: Serve) -> None:
    server = serve(EXAMPLES / "hooks.py")
    server.get("/hello")
    server.get("/stream")
    assert server.request("/wrong")[0] == 500
    server.raw(b"nonsense\r\n\r\n")
    server.stop()
    reported = [
        line
        for line in server.err
        if line.split(":")[0] in ("listening", "received", "responded", "went wrong")
    ]
    uri = f"http://127.0.0.1:{server.port}"
    assert reported == [
        f"listening: port {server.port} of 127.0.0.1",
        f"received: {uri}/hello from 127.0.0.1",
        "responded: /hello with 200",
        f"received: {uri}/stream from 127.0.0.1",
        "responded: /stream with 200",
        f"received: {uri}/wrong from 127.0.0.1",
        "responded: /wrong with 500",
        "went wrong: handler function.wrong failed: ZeroDivisionError('division by zero') (client 127.0.0.1)",
        "received: None from 127.0.0.1",
        reported[-2],
        "responded: a malformed request with 400",
    ]
    assert reported[-2].startswith("went wrong: 400 ")


# --- basic_auth.py ------------------------------------------------------------------------------------------


def test_basic_auth_requires_the_password(serve: Serve) -> None:
    server = serve(EXAMPLES / "basic_auth.py")

    def ask(credentials: str) -> tuple[int, bytes]:
        token = base64.b64encode(credentials.encode()).decode()
        status, _, body = server.request("/", headers={"Authorization": f"Basic {token}"})
        return status, body

    assert ask("guest:secret") == (200, b"Welcome, guest\n")
    for wrong in ("guest:Secret", "guest:", "guest", "stranger:secret", ":"):
        assert ask(wrong) == (401, b"Who are you?\n")
    _, fields, _ = server.request("/")
    assert fields["www-authenticate"] == 'Basic realm="prefork", charset="UTF-8"'


# --- proxy.py -----------------------------------------------------------------------------------------------


class Upstream(http.server.BaseHTTPRequestHandler):
    """A server of another program."""

    sent: ClassVar[int] = 0
    broken: ClassVar[bool] = False

    def do_GET(self) -> None:
        if self.path == "/endless":
            return self.endless()
        length = 20 if self.path == "/short" else None
        body = json.dumps(
            {"line": self.requestline, "fields": sorted(self.headers.items()), "body": self.body()}
        )
        self.send_response(203)
        self.send_header("Content-Length", str(length or len(body)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Connection", "X-Private")
        self.send_header("X-Private", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode()[: 5 if length else None])
        return None

    do_HEAD = do_POST = do_GET  # noqa: N815

    def body(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                type(self).sent += self.wfile.write(b"x" * 65536)
        except OSError:
            type(self).broken = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[str]:
    Upstream.sent, Upstream.broken = 0, False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def through(proxy: Server, url: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = shutil.which("curl")
    if command is None:
        pytest.skip("curl is not installed")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [command, "--silent", "--show-error", "--proxy", proxy.url, *options, url],
        capture_output=True,
        timeout=DEADLINE_S,
        env=environment,
        check=False,
    )


def test_proxy_passes_a_request_and_its_response_on(serve: Serve, upstream: str) -> None:
    done = through(serve(PROXY), f"{upstream}/a%20b?c=%64", "--include", "--header", "X-Own: 1")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 203 ")
    assert b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in head
    assert b"\r\nVia: 1.1 prefork" in head
    assert b"X-Private" not in head
    seen = json.loads(body)
    assert seen["line"] == "GET /a%20b?c=%64 HTTP/1.0"
    fields = dict(seen["fields"])
    assert fields["Host"] == upstream.removeprefix("http://")
    assert (fields["X-Own"], fields["Via"]) == ("1", "1.1 prefork")
    assert "Proxy-Connection" not in fields


@pytest.mark.parametrize("options", [(), ("--header", "Transfer-Encoding: chunked")])
def test_proxy_passes_a_body_on(serve: Serve, upstream: str, options: tuple[str, ...]) -> None:
    done = through(serve(PROXY), upstream, "--data", "x" * 1000, *options)
    seen = json.loads(done.stdout)
    assert seen["line"] == "POST / HTTP/1.0"
    assert seen["body"] == "x" * 1000


def test_proxy_responds_to_head_with_the_length_and_no_body(serve: Serve, upstream: str) -> None:
    done = through(serve(PROXY), upstream, "--head")
    assert done.returncode == 0
    assert b"\r\nContent-Length: " in done.stdout
    assert done.stdout.endswith(b"\r\n\r\n")


def test_proxy_stops_the_upstream_while_the_client_does_not_read(serve: Serve, upstream: str) -> None:
    proxy = serve(PROXY)
    with contextlib.closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect((proxy.host, proxy.port))
        sock.sendall(f"GET {upstream}/endless HTTP/1.1\r\nHost: {upstream[7:]}\r\n\r\n".encode())
        wait_until(lambda: Upstream.sent)
        before = -1
        while before != (before := Upstream.sent):
            through(proxy, upstream)  # time for some pieces, if they were not stopped
        assert before < 30_000_000  # what the sockets on the way hold
        for _ in range(200):
            sock.recv(65536)
        wait_until(lambda: Upstream.sent > before)
    wait_until(lambda: Upstream.broken, "the end of the upstream connection")
    assert "Traceback" not in proxy.log


def test_proxy_lets_the_client_see_that_a_response_is_not_whole(serve: Serve, upstream: str) -> None:
    done = through(serve(PROXY), f"{upstream}/short")
    assert (done.returncode, done.stdout) == (18, b'{"lin')


def test_proxy_says_502_of_an_upstream_that_is_not_there(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
    done = through(serve(PROXY), f"http://{place}/", "--write-out", "%{http_code}")
    assert done.stdout.startswith(f"{place} did not respond: ".encode())
    assert done.stdout.endswith(b"502")


def test_proxy_responds_502_for_an_upstream_without_http(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"220 mail.test\r\n")

        threading.Thread(target=hang_up).start()
        done = through(
            serve(PROXY), f"http://127.0.0.1:{listener.getsockname()[1]}/", "--write-out", "%{http_code}"
        )
    assert done.stdout.endswith(b"502")


def test_proxy_refuses_tunnels(serve: Serve) -> None:
    done = through(serve(PROXY), "https://example.invalid/", "--write-out", "%{http_connect}")
    assert done.stdout.endswith(b"501")


# --- wsgi.py and asgi.py ------------------------------------------------------------------------------------


def test_the_wsgi_application_has_a_page_a_form_a_stream_and_a_file(serve: Serve) -> None:
    server = serve(EXAMPLES / "wsgi.py", "--workers", "1")
    assert server.get("/") == b"Hello from WSGI, 127.0.0.1\n"
    assert server.request("/greet", "POST", b"name=J%C3%BCrgen")[2] == "Hello, Jürgen\n".encode()
    assert server.get("/clock").count(b"\n") == 3
    assert server.get("/source") == (EXAMPLES / "wsgi.py").read_bytes()
    assert server.request("/elsewhere")[0] == 404
    assert server.stop() == 0


def test_the_asgi_application_has_a_page_events_a_websocket_and_a_lifespan(serve: Serve) -> None:
    server = serve(EXAMPLES / "asgi.py", "--workers", "1")
    (worker,) = server.workers()
    assert server.get("/") == f"Hello from ASGI, worker {worker}\n".encode()
    assert server.get("/events").count(b"data: ") == 10
    with websockets.sync.client.connect(server.url.replace("http", "ws"), proxy=None) as socket:
        socket.send("hello")
        assert socket.recv() == "HELLO"
    assert server.stop() == 0
