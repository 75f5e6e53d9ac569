"""Applications behind nginx, as most are: over a Unix socket, with connections that are kept."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from support.apps import APPS
from support.server import Serve, Server
from support.waiting import wait_until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")

CONFIGURATION = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/nginx.log info; {user}
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream application {{ server unix:{here}/socket; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {{ proxy_pass http://application; }}
        location /stripped/ {{ proxy_pass http://application/; }}
        location /unbuffered {{
            proxy_pass http://application; proxy_buffering off; proxy_request_buffering off;
        }}
    }}
}}
"""

FLASK = APPS / "flask_behind_proxy.py"

ASGI = APPS / "asgi_behind_proxy.py"

Proxied = Callable[..., tuple[Server, str]]


@pytest.fixture
def proxied(serve: Serve, tmp_path: Path) -> Iterator[Proxied]:
    """`proxied(source, *options)`: the server, and where nginx is in front of it."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(source: str, *options: str) -> tuple[Server, str]:
        server = serve(source, "--bind", f"unix:{tmp_path}/socket", *options)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""  # the directory is ours alone
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(here=tmp_path, port=port, user=user))
        assert NGINX is not None
        command = [NGINX, "-c", str(configuration), "-e", f"{tmp_path}/nginx.log"]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "nginx")
        return server, f"127.0.0.1:{port}"

    yield begin
    for process in started:
        process.terminate()
        process.wait()


def test_the_client_and_its_scheme_are_what_the_proxy_says(proxied: Proxied) -> None:
    _, place = proxied(FLASK, "--workers", "2")
    said = httpx.get(f"http://{place}/whoami").text.split()
    assert said == ["127.0.0.1", f"https://{place}/whoami"]


def test_an_upload_goes_through_as_it_comes(proxied: Proxied) -> None:
    _, place = proxied(FLASK, "--workers", "1")
    pieces = (b"x" * 100_000 for _ in range(100))
    assert httpx.post(f"http://{place}/unbuffered/count", content=pieces).text == "10000000"


def test_a_websocket_goes_through(proxied: Proxied) -> None:
    _, place = proxied(ASGI, "--workers", "1")
    with websockets.sync.client.connect(f"ws://{place}/any") as client:
        client.send("through")
        assert client.recv() == "THROUGH"


@pytest.mark.parametrize("path", ["/shop/cart", "/stripped/cart"])
def test_a_root_path_is_the_same_whether_the_proxy_strips_it(proxied: Proxied, path: str) -> None:
    _, place = proxied(ASGI, "--workers", "1", "--root-path", "/shop")
    assert httpx.get(f"http://{place}{path}").text == "('127.0.0.1', 0) /shop /shop/cart"


def test_no_request_is_lost_while_workers_are_renewed(proxied: Proxied) -> None:
    server, place = proxied(ASGI, "--workers", "2", "--max-requests", "20")
    first = set(server.workers("spare", "active"))
    with httpx.Client() as client:
        for number in range(200):
            if number == 50:
                server.signal(signal.SIGHUP)
            assert client.get(f"http://{place}/").status_code == 200
    wait_until(lambda: not first & set(server.workers()), "new workers")
    assert "ERROR" not in server.log
