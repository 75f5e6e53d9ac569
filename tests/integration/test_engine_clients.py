"""The clients that people have: curl, httpx, http.client, wrk."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from support.apps import APPS
from support.server import Serve, Server

APP = APPS / "engine_clients.py"
STREAM = b"".join(b"%d\n" % number * 100 for number in range(100))
UPLOAD = bytes(range(256)) * 8000


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def curl(*arguments: str) -> bytes:
    done = subprocess.run(
        [tool("curl"), "-sS", "--noproxy", "*", *arguments], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(UPLOAD)
    return path


def digest() -> bytes:
    import hashlib

    return hashlib.sha256(UPLOAD).hexdigest().encode()


def test_curl_keeps_a_connection_for_several_requests(server: Server) -> None:
    url = f"{server.url}/whoami"
    said = curl("-v", url, url, url, "-w", "%{local_port}\n").decode()
    assert len(set(re.findall(r"HTTP/1.1(\d+)", said))) == 1
    assert said.count("HTTP/1.1") == 3


def test_curl_of_http_1_0(server: Server) -> None:
    assert curl("--http1.0", f"{server.url}/whoami") == b"HTTP/1.0"
    assert curl("--http1.0", f"{server.url}/stream") == STREAM


def test_curl_reads_a_stream(server: Server) -> None:
    assert curl(f"{server.url}/stream") == STREAM


def test_curl_uploads_with_a_length_and_in_chunks(server: Server, upload: Path) -> None:
    url = f"{server.url}/upload"
    assert curl("-T", str(upload), url) == digest()
    assert curl("-H", "Transfer-Encoding: chunked", "-T", str(upload), url) == digest()
    # curl sends Expect: 100-continue when a body is large.
    assert curl("--data-binary", f"@{upload}", "-H", "Expect: 100-continue", url) == digest()


def test_curl_posts_a_form(server: Server) -> None:
    assert b'"a": ["b c"]' in curl("-d", "a=b+c", f"{server.url}/form")


def test_curl_head(server: Server) -> None:
    said = curl("-I", f"{server.url}/whoami").decode()
    assert said.startswith("HTTP/1.1 200 OK\r\n")
    assert "content-length: 8" in said.lower()


def test_curl_over_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    serve(APP, "--bind", f"unix:{tmp_path}/http.sock")
    assert curl("--unix-socket", f"{tmp_path}/http.sock", "http://localhost/whoami") == b"HTTP/1.1"


def test_curl_hears_413_instead_of_a_broken_pipe(serve: Serve, upload: Path) -> None:
    """The response comes while curl still sends: it must not be lost to a reset."""
    server = serve(APP, "--max-body", "1000")
    for _ in range(5):
        said = curl(
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Expect:",
            "-T",
            str(upload),
            f"{server.url}/upload",
        )
        assert said == b"413"


def test_httpx(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        ports = {client.get("/whoami").headers["x-port"] for _ in range(5)}
        assert len(ports) == 1, "one connection"
        assert client.get("/stream").content == STREAM
        assert client.post("/upload", content=UPLOAD).content == digest()
        assert client.post("/upload", content=iter([UPLOAD[:1000], UPLOAD[1000:]])).content == digest()
        assert client.post("/form", data={"a": "b"}).json() == {"method": "POST", "form": {"a": ["b"]}}
        assert client.head("/whoami").headers["content-length"] == "8"
        with client.stream("GET", "/stream") as response:
            assert next(response.iter_lines()) == "0"
        assert client.get("/whoami").status_code == 200


def test_http_client(server: Server) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    ports = set()
    for _ in range(3):
        connection.request("GET", "/whoami")
        response = connection.getresponse()
        ports.add(response.headers["X-Port"])
        assert response.read() == b"HTTP/1.1"
    assert len(ports) == 1
    connection.request("POST", "/upload", UPLOAD)
    assert connection.getresponse().read() == digest()
    connection.request("POST", "/upload", iter([UPLOAD[:5], UPLOAD[5:]]), encode_chunked=True)
    assert connection.getresponse().read() == digest()
    connection.request("GET", "/stream")
    assert connection.getresponse().read() == STREAM
    connection.request("HEAD", "/stream")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/whoami")
    assert connection.getresponse().read() == b"HTTP/1.1"
    connection.close()


def test_wrk(server: Server) -> None:
    done = subprocess.run(
        [tool("wrk"), "-t1", "-c32", "-d1", f"{server.url}/whoami"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    print(done.stdout)
    assert "Socket errors" not in done.stdout
    assert "Non-2xx" not in done.stdout
    assert int(re.findall(r"(\d+) requests in", done.stdout)[0]) > 100
