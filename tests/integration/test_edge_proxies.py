"""nginx, HAProxy and Caddy in front, as docs/proxies.md has them: an application sees what they say."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import tls
from support.apps import APPS
from support.proxies import (
    Run,
    needs_caddy,
    needs_haproxy,
    needs_nginx,
    run_caddy,
    run_haproxy,
    run_nginx,
)
from support.server import Serve, Server

WSGI, ASGI = Path(f"{APPS}/origins.py:wsgi"), Path(f"{APPS}/origins.py:asgi")
FORM = APPS / "django_form.py"
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": 'for=6.6.6.6;host=evil.example;secret="open',
}


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Run]:
    yield from run_nginx(tmp_path)


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Run]:
    yield from run_haproxy(tmp_path)


@pytest.fixture
def caddy(tmp_path: Path) -> Iterator[Run]:
    yield from run_caddy(tmp_path)


def get(place: str, client: str = "127.0.0.2", **headers: str) -> httpx.Response:
    """`client` is the address that the request comes from."""
    context: ssl.SSLContext | bool = tls.context() if place.startswith("https") else True
    transport = httpx.HTTPTransport(local_address=client, verify=context)
    with httpx.Client(transport=transport, headers=headers) as browser:
        return browser.get(place)


def origin(place: str, **headers: str) -> dict[str, Any]:
    response = get(place, **headers)
    assert response.status_code == 200, response.text
    said: dict[str, Any] = response.json()
    return said


def upstream(server: Server) -> str:
    return f"http://{server.host}:{server.port}"


NGINX_TLS = """
server {
    listen 127.0.0.1:{port} ssl;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    location / { proxy_pass {upstream}; }
}
"""


@needs_nginx
def test_a_form_of_django_behind_a_proxy_that_speaks_tls(nginx: Run, serve: Serve) -> None:
    server = serve(FORM, "--workers", "1")
    port = nginx(NGINX_TLS.replace("{upstream}", upstream(server)))
    place = f"https://localhost:{port}/form"
    with httpx.Client(verify=tls.context()) as browser:
        token = browser.get(place).text
        fields = {"csrfmiddlewaretoken": token}
        posted = browser.post(place, data=fields, headers={"Origin": f"https://localhost:{port}"})
        assert (posted.status_code, posted.text) == (200, f"{place} 127.0.0.1")
        posted = browser.post(place, data=fields, headers={"Origin": "https://evil.example"})
        assert posted.status_code == 403


@needs_nginx
@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_nginx_as_most_configure_it(nginx: Run, serve: Serve, tmp_path: Path, application: Path) -> None:
    """It passes on what a client says in the other fields. They are not heeded."""
    trusted = {"FORWARDED_ALLOW_IPS": "10.0.0.1"}  # and not the client, whose address is of this machine
    serve(application, "--workers", "1", "--bind", f"unix:{tmp_path}/socket", env=trusted)
    port = nginx(NGINX_TLS.replace("{upstream}", f"http://unix:{tmp_path}/socket"))
    said = origin(f"https://localhost:{port}/cart", **FORGED)
    assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")
    assert (said["host"], said["prefix"], said["path"]) == (f"localhost:{port}", "", "/cart")
    assert "forwarded" not in said["fields"]


NGINX_ALL = """
server {
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Prefix /shop;
    location /shop/ { proxy_pass {upstream}/; }
}
"""


@needs_nginx
@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_nginx_that_says_all(nginx: Run, serve: Serve, application: Path) -> None:
    server = serve(application, "--workers", "1", "--trusted-proxies", "127.0.0.1", "--access-log", "-")
    port = nginx(NGINX_ALL.replace("{upstream}", upstream(server)))
    said = origin(f"http://127.0.0.1:{port}/shop/cart", **FORGED)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.2", "http", f"127.0.0.1:{port}")
    assert (said["prefix"], said["path"]) == ("/shop", "/shop/cart")
    server.stop()
    assert [line.split()[0] for line in server.out if "GET /cart" in line] == ["127.0.0.2"]


NGINX_FORWARDED = """
map $remote_addr $forwarded_for {
    ~^[0-9.]+$        "for=$remote_addr";
    ~^[0-9A-Fa-f:.]+$ "for=\\"[$remote_addr]\\"";
    default           "for=unknown";
}
server {
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Forwarded "$http_forwarded, $forwarded_for;proto=$scheme;host=\\"$http_host\\"";
    location / { proxy_pass {upstream}; }
}
"""


@needs_nginx
def test_nginx_that_says_forwarded(nginx: Run, serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", "--trusted-proxies", "127.0.0.1", "--forwarded", "forwarded")
    port = nginx(NGINX_FORWARDED.replace("{upstream}", upstream(server)))
    for forged in ({}, FORGED):
        said = origin(f"http://127.0.0.1:{port}/cart", **forged)
        assert (said["client"], said["host"]) == ("127.0.0.2", f"127.0.0.1:{port}")
        assert said["fields"] == ["forwarded"]


@needs_nginx
@needs_haproxy
def test_haproxy_in_front_of_nginx(nginx: Run, haproxy: Run, serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", "--trusted-proxies", "127.0.0.1")
    inner = nginx(
        NGINX_TLS.replace("ssl;", ";")
        .replace("$scheme", "$http_x_forwarded_proto")
        .replace("{upstream}", upstream(server))
    )
    outer = haproxy(HAPROXY_HTTP.replace("{upstream}", f"127.0.0.1:{inner}"))
    said = origin(f"https://localhost:{outer}/cart", **FORGED)
    assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")


HAPROXY_HTTP = """
frontend edge
    mode http
    bind 127.0.0.1:{port} ssl crt {both}
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request del-header X-Forwarded-Prefix
    default_backend application
backend application
    mode http
    server one {upstream}
"""


@needs_haproxy
@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_haproxy_with_fields(haproxy: Run, serve: Serve, application: Path) -> None:
    server = serve(application, "--workers", "1", "--trusted-proxies", "127.0.0.1")
    port = haproxy(HAPROXY_HTTP.replace("{upstream}", f"{server.host}:{server.port}"))
    said = origin(f"https://localhost:{port}/cart", **FORGED)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.2", "https", f"localhost:{port}")
    assert (said["prefix"], said["path"]) == ("", "/cart")


HAPROXY_UNIQUE_ID = "unique-id-format %{+X}o%ci:%cp"
HAPROXY_TELLING = "send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,unique-id"
HAPROXY_TCP = """
frontend edge
    mode tcp
    bind 127.0.0.1:{port} {bind}
    default_backend application
backend application
    mode tcp
    server one {upstream} check {send}
"""


@needs_haproxy
@pytest.mark.parametrize(
    "send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"]
)
def test_haproxy_with_the_proxy_protocol(haproxy: Run, serve: Serve, send: str) -> None:
    server = serve(WSGI, "--workers", "1", "--proxy-protocol", "--trusted-proxies", "127.0.0.1")
    filled = HAPROXY_TCP.replace("{upstream}", f"{server.host}:{server.port}").replace("{send}", send)
    port = haproxy(filled.replace("{bind}", ""))
    for _ in range(3):
        said = origin(f"http://127.0.0.1:{port}/cart", **FORGED)
        assert (said["client"], said["scheme"], said["fields"]) == ("127.0.0.2", "http", [])
        assert said["port"] > 0
    # Its checks of the server are nothing to log.
    assert "refused" not in server.log


@needs_haproxy
def test_haproxy_that_ends_tls_and_says_so_by_the_proxy_protocol(haproxy: Run, serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", "--proxy-protocol")
    filled = HAPROXY_TCP.replace("{upstream}", f"{server.host}:{server.port}").replace(
        "{send}", HAPROXY_TELLING
    )
    bind = f"ssl crt {{both}} alpn http/1.1\n    {HAPROXY_UNIQUE_ID}"
    port = haproxy(filled.replace("{bind}", bind))
    said = origin(f"https://localhost:{port}/cart")
    assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")
    told = said["told"]
    assert re.fullmatch(r"7F000002:[0-9A-F]{4}", told.pop("unique_id"))
    expected = {"alpn": "http/1.1", "authority": "localhost", "ssl_verify": "0", "ssl_version": "TLSv1.3"}
    assert {name: told[name] for name in expected} == expected
    assert "ssl_cn" not in told


@needs_haproxy
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_that_passes_tls_through(haproxy: Run, serve: Serve, send: str) -> None:
    server = serve(WSGI, "--workers", "1", "--proxy-protocol", *tls.OPTIONS)
    filled = HAPROXY_TCP.replace("{upstream}", f"{server.host}:{server.port}").replace("{send}", send)
    port = haproxy(filled.replace("{bind}", ""))
    said = origin(f"https://localhost:{port}/cart")
    assert (said["client"], said["scheme"]) == ("127.0.0.2", "https")


CADDY_HTTP = """
https://localhost:{port} {
    tls {cert} {key}
    reverse_proxy {upstream} {
        header_up -X-Forwarded-Port
        header_up -X-Forwarded-Prefix
    }
}
"""


@needs_caddy
@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_caddy(caddy: Run, serve: Serve, application: Path) -> None:
    server = serve(application, "--workers", "1", "--trusted-proxies", "127.0.0.1")
    port = caddy(CADDY_HTTP.replace("{upstream}", f"{server.host}:{server.port}"))
    for forged in ({}, FORGED):
        said = origin(f"https://localhost:{port}/cart", **forged)
        assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.2", "https", f"localhost:{port}")
        assert (said["prefix"], said["path"]) == ("", "/cart")


@needs_caddy
def test_caddy_as_most_configure_it(caddy: Run, serve: Serve, tmp_path: Path) -> None:
    trusted = {"FORWARDED_ALLOW_IPS": "10.0.0.1"}  # and not the client, whose address is of this machine
    serve(WSGI, "--workers", "1", "--bind", f"unix:{tmp_path}/socket", env=trusted)
    plain = re.sub(r"\n.*header_up.*", "", CADDY_HTTP)
    port = caddy(plain.replace("{upstream}", f"unix/{tmp_path}/socket"))
    said = origin(f"https://localhost:{port}/cart", **FORGED)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.2", "https", f"localhost:{port}")
    assert (said["prefix"], said["path"]) == ("", "/cart")


def test_each_example_of_the_page_is_tested() -> None:
    """The lines of this file's configurations are those of docs/proxies.md."""
    page = (APPS.parent.parent / "docs" / "proxies.md").read_text()
    assert [line for line in (HAPROXY_UNIQUE_ID, HAPROXY_TELLING) if line not in page] == []
    for configuration in (NGINX_TLS, NGINX_ALL, NGINX_FORWARDED, HAPROXY_HTTP, CADDY_HTTP):
        said = r"^\s+((?:proxy_set_header|http-request|option|header_up) .+)$"
        lines = re.findall(said, configuration, re.MULTILINE)
        assert [line for line in lines if line not in page] == []
