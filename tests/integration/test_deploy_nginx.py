"""nginx with the file of deploy/: what reaches the application, and what a client notices of a reload."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import websockets.sync.client

from support import tls
from support.apps import APPS
from support.deploy import SOCKET, edited
from support.proxies import Run, free_port, needs_nginx, run_nginx
from support.server import Serve, Server
from support.visitors import Visitors, renew_workers
from support.waiting import DEADLINE_S

pytestmark = needs_nginx
WSGI, ASGI = Path(f"{APPS}/origins.py:wsgi"), Path(f"{APPS}/origins.py:asgi")
MIB = 1 << 20
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=6.6.6.6;host=evil.example",
    "X-Request-ID": "forged",
}


class Site(NamedTuple):
    """A server behind nginx, and the address of nginx."""

    server: Server
    url: str
    plain_port: int
    files: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


Start = Callable[..., Site]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Run]:
    yield from run_nginx(tmp_path)


@pytest.fixture
def start(nginx: Run, serve: Serve, tmp_path: Path) -> Start:
    """`start(application, *options, tcp=False)`: a server over a Unix socket or TCP, behind nginx."""

    def begin(application: Path, *options: str, tcp: bool = False) -> Site:
        files = tmp_path / "files" / "static"
        files.mkdir(parents=True)
        if tcp:
            server = serve(application, *options, "--trusted-proxies", "127.0.0.1")
            address = f"{server.host}:{server.port}"
        else:
            address = f"unix:{tmp_path}/web.sock"
            server = serve(application, *options, "--bind", address, "--trusted-proxies", "unix")
        plain_port = free_port()
        port = nginx(configuration(address, plain_port, files.parent))
        return Site(server, f"https://localhost:{port}", plain_port, files)

    return begin


def configuration(address: str, plain_port: int, files: Path) -> str:
    text = edited(
        "nginx.conf",
        {
            f"unix:{SOCKET}": address,
            "listen 80 default_server;": f"listen 127.0.0.1:{plain_port} default_server;",
            "listen 443 ssl": "listen 127.0.0.1:{port} ssl",
            "server_name shop.example.com;": "server_name localhost;",
            "/etc/nginx/tls/cert.pem": "{cert}",
            "/etc/nginx/tls/key.pem": "{key}",
            "root /srv/shop;": f"root {files};",
        },
    )
    return re.sub(r"\n *listen \[::\].*", "", text)


def client_from(address: str, **settings: Any) -> httpx.Client:
    """A client whose requests come from this address of the machine."""
    transport = httpx.HTTPTransport(local_address=address, verify=tls.context(), **settings)
    return httpx.Client(transport=transport, timeout=DEADLINE_S)


@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_the_application_knows_the_client(start: Start, application: Path, tcp: bool) -> None:
    site = start(application, "--workers", "1", tcp=tcp)
    with client_from("127.0.0.2") as client:
        for forged in ({}, FORGED):
            said = client.get(f"{site.url}/cart", headers=forged).json()
            assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")
            assert (said["host"], said["prefix"], said["path"]) == ("localhost", "", "/cart")
            assert said["fields"] == ["x-forwarded-for", "x-forwarded-proto"]


def test_clients_of_http2_are_the_same(start: Start) -> None:
    site = start(WSGI, "--workers", "1")
    with client_from("127.0.0.2", http2=True, http1=False) as client:
        response = client.get(f"{site.url}/cart")
        assert response.http_version == "HTTP/2"
        assert response.json()["client"] == "127.0.0.2"


def test_the_id_of_a_request_is_that_of_nginx(start: Start) -> None:
    site = start(WSGI, "--workers", "1", "--request-id", "trusted")
    with client_from("127.0.0.1") as client:
        response = client.get(site.url, headers=FORGED)
        assert re.fullmatch("[0-9a-f]{32}", response.json()["request_id"])
        assert response.headers["x-request-id"] == response.json()["request_id"]


def test_a_websocket_goes_through(start: Start) -> None:
    site = start(ASGI, "--workers", "1")
    sock = tls.wrap(socket.create_connection(("127.0.0.1", site.port), DEADLINE_S))
    place = f"ws://localhost:{site.port}/any"
    with websockets.sync.client.connect(place, sock=sock, additional_headers=FORGED) as client:
        said = json.loads(client.recv(DEADLINE_S))
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.1", "wss", "localhost")


def test_a_large_upload_goes_through_and_one_that_is_too_large_does_not(start: Start) -> None:
    site = start(WSGI, "--workers", "1")
    with client_from("127.0.0.1") as client:
        pieces = (b"x" * MIB for _ in range(40))
        assert client.post(site.url, content=pieces).json()["received"] == 40 * MIB
    connection = http.client.HTTPSConnection(
        "localhost", site.port, context=tls.context(), timeout=DEADLINE_S
    )
    with contextlib.closing(connection):
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(101 * MIB))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_nginx_serves_the_files_that_it_has(start: Start) -> None:
    site = start(WSGI, "--workers", "1")
    (site.files / "site.css").write_text("p {}")
    with client_from("127.0.0.1") as client:
        found = client.get(f"{site.url}/static/site.css")
        assert (found.text, found.headers["cache-control"]) == ("p {}", "max-age=3600")
        assert "x-pid" not in found.headers
        for other in ("/static/other.css", "/static/", "/static/%2e%2e/secret"):
            assert "x-pid" in client.get(site.url + other).headers


def test_other_names_and_plain_requests_do_not_reach_the_application(start: Start) -> None:
    site = start(WSGI, "--workers", "1", "--access-log", "-")
    with client_from("127.0.0.1") as client:
        moved = client.get(f"http://127.0.0.1:{site.plain_port}/cart?a=1", headers={"Host": "localhost"})
        assert (moved.status_code, moved.headers["location"]) == (301, "https://localhost/cart?a=1")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(site.url, headers={"Host": "evil.example"})
    with (
        socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE_S) as sock,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        ssl._create_unverified_context().wrap_socket(sock, server_hostname="evil.example")
    site.server.stop()
    assert [line for line in site.server.out if "HTTP/1." in line] == []


def test_connections_to_the_server_are_kept(start: Start) -> None:
    line = "%(H)s %({connection}i)s"
    site = start(WSGI, "--workers", "1", "--access-log", "-", "--access-log-format", line)
    with client_from("127.0.0.1") as client:
        for _ in range(10):
            assert client.get(site.url).status_code == 200
        assert site.server.status()["totals"]["connections"] == 1
    site.server.stop()
    assert [line for line in site.server.out if "HTTP/1." in line] == ["HTTP/1.1 -"] * 10


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_a_reload_under_load_fails_no_request(start: Start, tcp: bool) -> None:
    """Nor a POST, which nginx does not send again."""
    site = start(WSGI, "--workers", "2", tcp=tcp)
    with Visitors(site.server, site.url, ("GET", "GET", "POST", "POST")) as visitors:
        for _ in range(3):
            visitors.more(40)
            renew_workers(site.server)
        visitors.more(40)
    assert visitors.lost == []
    assert visitors.statuses == {200}
