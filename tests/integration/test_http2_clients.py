"""Other implementations of HTTP/2 as clients, over TLS: curl, nghttp, h2load, httpx."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import tls
from support.apps import APPS
from support.server import Serve, Server

BODY = bytes(range(256)) * 8000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(params=["wsgi", "asgi"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    return serve(APPS / f"http2_{request.param}.py", "--workers", "2", *tls.OPTIONS)


@pytest.fixture
def asgi(serve: Serve) -> Server:
    return serve(APPS / "http2_asgi.py", "--workers", "1", *tls.OPTIONS)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "body"
    path.write_bytes(BODY)
    return path


def run(program: str, package: str, *arguments: str) -> str:
    """The output of a client, which must succeed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian's package {package})")
    done = subprocess.run([found, *arguments], capture_output=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.decode(errors="replace")


def download(server: Server) -> tuple[str, int]:
    """A path with a long response, and its length."""
    is_wsgi = server.request("/")[1].get("x-kind") == "wsgi"
    return ("/parts", 2_000_000) if is_wsgi else ("/flood", 40 * 50_000 + 3)


def curl(server: Server, path: str, *options: str) -> str:
    """The body, and behind it the version of HTTP."""
    where = f"https://localhost:{server.port}{path}"
    known = f"--http2 -s -S --cacert {tls.CERT} --resolve localhost:{server.port}:127.0.0.1"
    return run("curl", "curl", *known.split(), "-w", " %{http_version}", *options, where)


def test_curl(server: Server, upload: Path) -> None:
    if "HTTP2" not in run("curl", "curl", "--version"):
        pytest.skip("this curl has no HTTP/2")
    assert curl(server, "/") == "hello 2"
    assert curl(server, "/hash", "--data-binary", f"@{upload}") == f"{DIGEST} 2"
    assert curl(server, "/hash", "-T", str(upload), "-H", "Expect: 100-continue") == f"{DIGEST} 2"
    path, length = download(server)
    assert len(curl(server, path)) == length + len(" 2")
    assert "HTTP/2 200" in curl(server, "/", "-I")


def test_curl_reads_events_as_they_come(asgi: Server) -> None:
    where = f"https://localhost:{asgi.port}/ticks"
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed (Debian's package curl)")
    known = f"--http2 -s -N --cacert {tls.CERT} --resolve localhost:{asgi.port}:127.0.0.1"
    with subprocess.Popen([program, *known.split(), where], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"data: 0\n"
        curl(asgi, "/release")
        assert client.stdout.read() == b"\ndata: 1\n\ndata: 2\n\n"


def test_nghttp(server: Server, upload: Path) -> None:
    where = f"https://localhost:{server.port}"
    out = run("nghttp", "nghttp2-client", "--no-verify-peer", "-d", str(upload), f"{where}/hash")
    assert out == DIGEST
    path, length = download(server)
    out = run("nghttp", "nghttp2-client", "--no-verify-peer", f"{where}{path}")
    assert len(out) == length
    # Small windows, padding, trailers, and many at once.
    options = "--no-verify-peer -w 10 -W 12 -b 100 --trailer=x-sum:1 -m 20 -n -s"
    out = run("nghttp", "nghttp2-client", *options.split(), f"{where}{path}", f"{where}/")
    assert out.count(" 200 ") == 40, out


@pytest.mark.parametrize("more", ["", "-w 10 -W 11", "--header-table-size 0", "--h1"])
def test_h2load(server: Server, more: str) -> None:
    options = f"-n 2000 -c 10 -m 20 {more} {server.url}/"
    out = run("h2load", "nghttp2-client", *options.split())
    assert re.search(r"2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", out), out
    assert f"Application protocol: {'http/1.1' if more == '--h1' else 'h2'}" in out


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx_client(server) as client:
        yield client


def httpx_client(server: Server) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://localhost:{server.port}", http2=True, verify=tls.context(), trust_env=False
    )


def test_httpx(server: Server, client: httpx.Client) -> None:
    response = client.get("/")
    assert (response.http_version, response.text) == ("HTTP/2", "hello")
    assert client.post("/hash", content=BODY).text == DIGEST
    pieces = (BODY[at : at + 5000] for at in range(0, len(BODY), 5000))
    assert client.post("/hash", content=pieces).text == DIGEST
    path, length = download(server)
    assert len(client.get(path).content) == length
    assert client.head("/").headers["content-length"] == "5" or path == "/flood"


def test_httpx_reads_events_as_they_come(asgi: Server) -> None:
    """And asks meanwhile, on the same connection."""
    with httpx_client(asgi) as client, client.stream("GET", "/ticks") as response:
        lines = response.iter_lines()
        assert next(lines) == "data: 0"
        assert client.get("/release").text == "done"
        assert [line for line in lines if line] == ["data: 1", "data: 2"]
