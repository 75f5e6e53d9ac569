"""Caddy with the file of deploy/: what reaches the application, and what a client notices of a restart."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import websockets.sync.client

from support import tls
from support.apps import APPS
from support.deploy import SOCKET, edited
from support.proxies import Run, needs_caddy, run_caddy
from support.server import Serve, Server
from support.visitors import Visitors, renew_workers
from support.waiting import DEADLINE_S

pytestmark = needs_caddy
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
    """A server behind Caddy, the address of Caddy, and the directory of its files."""

    server: Server
    url: str
    files: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


Start = Callable[..., Site]


@pytest.fixture
def caddy(tmp_path: Path) -> Iterator[Run]:
    yield from run_caddy(tmp_path)


@pytest.fixture
def start(caddy: Run, serve: Serve, tmp_path: Path) -> Start:
    """`start(application, *options)`: a server, and Caddy in front of it."""

    def begin(application: Path, *options: str) -> Site:
        files = tmp_path / "files" / "static"
        files.mkdir(parents=True)
        address = tmp_path / "web.sock"
        server = serve(application, *options, "--bind", f"unix:{address}", "--trusted-proxies", "unix")
        text = edited(
            "caddy/Caddyfile",
            {
                "shop.example.com {": "https://localhost:{port} {\n\ttls {cert} {key}",
                f"unix/{SOCKET}": f"unix/{address}",
                "/srv/shop": str(files.parent),
            },
        )
        return Site(server, f"https://localhost:{caddy(text)}", files)

    return begin


@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_the_application_knows_the_client(start: Start, application: Path) -> None:
    site = start(application, "--workers", "1")
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=tls.context())
    with httpx.Client(transport=transport) as client:
        for forged in ({}, FORGED):
            said = client.get(f"{site.url}/cart", headers=forged).json()
            assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")
            assert said["host"] == site.url.removeprefix("https://")
            assert (said["prefix"], said["path"]) == ("", "/cart")
            assert said["fields"] == ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]


def test_the_id_of_a_request_is_that_of_caddy(start: Start) -> None:
    site = start(WSGI, "--workers", "1", "--request-id", "trusted")
    response = httpx.get(site.url, headers=FORGED, verify=tls.context())
    assert re.fullmatch("[0-9a-f-]{36}", response.json()["request_id"])
    assert response.headers["x-request-id"] == response.json()["request_id"]


def test_a_websocket_goes_through(start: Start) -> None:
    site = start(ASGI, "--workers", "1")
    sock = tls.wrap(socket.create_connection(("127.0.0.1", site.port), DEADLINE_S))
    place = f"ws://localhost:{site.port}/any"
    with websockets.sync.client.connect(place, sock=sock, additional_headers=FORGED) as client:
        said = json.loads(client.recv(DEADLINE_S))
    assert (said["client"], said["scheme"]) == ("127.0.0.1", "wss")


def test_a_large_upload_goes_through_and_one_that_is_too_large_does_not(start: Start) -> None:
    site = start(WSGI, "--workers", "1")
    with httpx.Client(verify=tls.context(), timeout=DEADLINE_S) as client:
        pieces = (b"x" * MIB for _ in range(40))
        assert client.post(site.url, content=pieces).json()["received"] == 40 * MIB
        assert client.post(site.url, content=b"x" * (101 * MIB)).status_code == 413


def test_caddy_serves_the_files_that_it_has(start: Start) -> None:
    site = start(WSGI, "--workers", "1")
    (site.files / "site.css").write_text("p {}")
    with httpx.Client(verify=tls.context()) as client:
        found = client.get(f"{site.url}/static/site.css")
        assert (found.text, found.headers["cache-control"]) == ("p {}", "max-age=3600")
        assert "x-pid" not in found.headers
        for other in ("/static/other.css", "/static/%2e%2e/secret"):
            assert "x-pid" in client.get(site.url + other).headers


def test_a_reload_under_load_fails_no_request(start: Start) -> None:
    site = start(WSGI, "--workers", "2")
    with Visitors(site.server, site.url, ("GET", "GET", "POST", "POST")) as visitors:
        for _ in range(3):
            visitors.more(40)
            renew_workers(site.server)
        visitors.more(40)
    assert visitors.lost == []
    assert visitors.statuses == {200}


def test_clients_wait_while_the_server_starts_again(start: Start, serve: Serve, tmp_path: Path) -> None:
    """A request is sent again if it has reached no server; a GET also if its connection was just closed."""
    site = start(WSGI, "--workers", "2")
    with Visitors(site.server, site.url, ("GET", "GET")) as visitors:
        visitors.more(20)
        assert site.server.stop() == 0
        serve(WSGI, "--workers", "2", "--bind", f"unix:{tmp_path}/web.sock", "--trusted-proxies", "unix")
        visitors.more(20)
    assert visitors.lost == []
    assert visitors.statuses == {200}
