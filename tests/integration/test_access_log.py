"""The access log has one line for each request, however it ends, with the bytes that were sent."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from support.apps import APPS, ASGI_APP
from support.leaving import reset
from support.responses import only
from support.server import Serve, Server
from support.waiting import wait_until

WHEN = r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
LINE = rf'^127\.0\.0\.1 - - \[{WHEN}\] "(.+)" (\d+) (\S+) ".*" ".*"$'
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Logged = tuple[str, int, str]

THREADS = pytest.mark.parametrize("threads", [1, 3], ids=["one thread", "threads"])
MIB = 1 << 20


class Log:
    """A server with an access log."""

    def __init__(self, serve: Serve, path: Path, app: Path, *flags: str, **settings: object) -> None:
        self._path = path / "access.log"
        self.server: Server = serve(app, "--access-log", str(self._path), *flags, **settings)

    def wait(self, path: str) -> Logged:
        """Wait for the one line of a path; return its request, status and length."""

        def lines() -> list[Logged]:
            found = re.findall(LINE, self._text, re.MULTILINE)
            return [(request, int(status), length) for request, status, length in found if path in request]

        wait_until(lines, f"a line of {path}")
        (line,) = lines()
        return line

    @property
    def _text(self) -> str:
        return self._path.read_text()


def get(target: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def leave(server: Server, request: bytes, *, after: int = 0) -> None:
    """Send a request, read so many bytes of its response, and leave."""
    sock = server.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(request)
    while after > 0:
        after -= len(sock.recv(after))
    reset(sock)


@THREADS
@pytest.mark.parametrize(
    ("path", "length"), [("/many?2", 2 * MIB), ("/some", 50_000), ("/many_written?1", MIB)]
)
def test_wsgi(serve: Serve, tmp_path: Path, path: str, length: int, threads: int) -> None:
    log = Log(serve, tmp_path, APPS / "wsgi_streams.py", "--workers", "1", "--threads", str(threads))
    assert len(log.server.get(path)) == length
    assert log.wait(path) == (f"GET {path} HTTP/1.1", 200, str(length))


@pytest.mark.parametrize(
    ("path", "length"), [("/hello", "5"), ("/large?2", str(2 * MIB)), ("/pieces", "13"), ("/status?204", "-")]
)
def test_asgi(serve: Serve, tmp_path: Path, path: str, length: str) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    log.server.request(path)
    assert log.wait(path)[2] == length


def test_a_response_to_head_has_no_bytes(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    log.server.request("/pieces", "HEAD")
    assert log.wait("/pieces") == ("HEAD /pieces HTTP/1.1", 200, "-")


def test_a_file(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1", "--static", f"/files={APPS}")
    body = log.server.get("/files/hello.py")
    assert log.wait("/files") == ("GET /files/hello.py HTTP/1.1", 200, str(len(body)))


@pytest.mark.parametrize(
    ("request_", "asked", "status"),
    [
        (b"nonsense\r\n\r\n", "-", 400),
        (get("/" + "x" * 20_000), "-", 414),
        (
            b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n",
            "POST /count HTTP/1.1",
            413,
        ),
        (CHUNKED + b"no", "POST /echo HTTP/1.1", 400),
        (get("/a?b", "Expect: more"), "GET /a?b HTTP/1.1", 417),
        (get("/a", "X: " + "x" * 20_000), "GET /a HTTP/1.1", 431),
        (get("/a", "Transfer-Encoding: gzip"), "GET /a HTTP/1.1", 501),
        (b"\r\nGET /a HTTP/2.0\r\n\r\n", "GET /a HTTP/2.0", 505),
        (b"GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1", 400),
        (get('/"\\', "no field"), r"GET /\"\\ HTTP/1.1", 400),
    ],
    ids=[
        "no request",
        "a long target",
        "a large body",
        "no chunk",
        "an expectation",
        "a long field",
        "a coding",
        "a version",
        "no Host",
        "quotes",
    ],
)
@pytest.mark.parametrize("app", [ASGI_APP, APPS / "wsgi_streams.py"], ids=["asgi", "wsgi"])
def test_what_the_engine_refuses(
    serve: Serve, tmp_path: Path, app: Path, request_: bytes, asked: str, status: int
) -> None:
    log = Log(serve, tmp_path, app, "--workers", "1")
    response = only(log.server.raw(request_, half_close=True))
    assert response.status == status
    assert log.wait("") == (asked, status, str(len(response.body)))


def test_a_head_that_does_not_end(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1", "--header-timeout", "0.2")
    response = only(log.server.raw(b"GET /a HTTP/1.1\r\nHost: x\r\n"))
    assert log.wait("") == ("GET /a HTTP/1.1", 408, str(len(response.body)))


@pytest.mark.parametrize("path", ["/raises", "/silent"])
def test_what_the_application_did_not_respond_to(serve: Serve, tmp_path: Path, path: str) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    status, _, body = log.server.request(path)
    assert status == 500
    assert log.wait(path) == (f"GET {path} HTTP/1.1", 500, str(len(body)))


def test_a_response_that_came_too_late(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1", "--request-timeout", "0.3")
    status, _, body = log.server.request("/waits")
    assert status == 504
    assert log.wait("/waits") == ("GET /waits HTTP/1.1", 504, str(len(body)))


@THREADS
def test_a_wsgi_response_that_came_too_late(serve: Serve, tmp_path: Path, threads: int) -> None:
    """Its worker is stuck. Without threads Python cannot write the line."""
    flags = ("--workers", "1", "--threads", str(threads), "--request-timeout", "0.3")
    log = Log(serve, tmp_path, APPS / "wsgi_streams.py", *flags)
    status, _, body = log.server.request(f"/hold?{tmp_path}/never")
    assert status == 504
    assert log.wait("/hold") == (f"GET /hold?{tmp_path}/never HTTP/1.1", 504, str(len(body)))


def test_a_client_that_left_before_its_response(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    sock = log.server.connect()
    sock.sendall(get("/waits"))
    wait_until(lambda: b"waiting" in log.server.get("/records"))
    reset(sock)
    assert log.wait("/waits") == ("GET /waits HTTP/1.1", 499, "-")


@THREADS
def test_a_wsgi_response_that_is_broken_off(serve: Serve, tmp_path: Path, threads: int) -> None:
    log = Log(serve, tmp_path, APPS / "wsgi_streams.py", "--workers", "1", "--threads", str(threads))
    leave(log.server, get("/many?200"), after=100_000)
    asked, status, length = log.wait("/many")
    assert (asked, status) == ("GET /many?200 HTTP/1.1", 200)
    assert 50_000 < int(length) < 100 * MIB


def test_an_asgi_response_that_is_broken_off(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    leave(log.server, get("/forever"), after=100_000)
    asked, status, length = log.wait("/forever")
    assert (asked, status) == ("GET /forever HTTP/1.1", 200)
    assert 50_000 < int(length) < 100 * MIB


def test_an_asgi_response_that_its_application_breaks_off(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, ASGI_APP, "--workers", "1")
    assert b"begin" in log.server.raw(get("/raises_begun"))
    assert log.wait("/raises_begun") == ("GET /raises_begun HTTP/1.1", 200, "5")


@pytest.mark.parametrize("path", ["/leaves", "/fails"])
@pytest.mark.parametrize("app", ["wsgi", "wsgi --threads 2", "asgi", "asgi --loop uvloop"])
def test_a_response_that_an_exception_refers_to(serve: Serve, tmp_path: Path, app: str, path: str) -> None:
    interface, *flags = app.split()
    parameters = {"interface": interface}
    log = Log(serve, tmp_path, APPS / "keeps_errors.py", "--workers", "1", *flags, parameters=parameters)
    leave(log.server, get(path), after=10_000)
    assert log.wait(path)[:2] == (f"GET {path} HTTP/1.1", 200)
