"""Where a request comes from when proxies are in front: X-Forwarded-*, Forwarded, and who may send them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import websockets.sync.client

from support.apps import APPS
from support.http2 import http2
from support.server import Serve, Server, run_prefork

WSGI, ASGI = Path(f"{APPS}/origins.py:wsgi"), Path(f"{APPS}/origins.py:asgi")
EVENTS = APPS / "origin_events.py"

X_FORWARDED = {
    "X-Forwarded-For": "6.6.6.6, 192.0.2.1:4711",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "example.com",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Prefix": "/shop",
}
FORWARDED = {"Forwarded": 'for=6.6.6.6;proto=http, for="192.0.2.1:4711";proto=https;host="example.com:8443"'}
NAMED = ("--trusted-proxies", "127.0.0.1")

Start: TypeAlias = Callable[..., Server]


@pytest.fixture(params=["wsgi", "threads", "asgi"])
def start(request: pytest.FixtureRequest, serve: Serve) -> Start:
    """Serves an application of each kind."""
    source, *options = {"wsgi": (WSGI,), "threads": (WSGI, "--threads", "2"), "asgi": (ASGI,)}[request.param]

    def begin(*more: str, **settings: Any) -> Server:
        return serve(source, "--workers", "1", *map(str, options), *more, **settings)

    return begin


def asked(server: Server, headers: dict[str, str], path: str = "/cart") -> dict[str, Any]:
    status, _, body = server.request(path, headers={"Host": "inner:8000"} | headers)
    assert status == 200, body
    said: dict[str, Any] = json.loads(body)
    return said


def test_what_a_named_proxy_says_is_what_the_application_sees(start: Start) -> None:
    said = asked(start(*NAMED), X_FORWARDED | {"Forwarded": "for=7.7.7.7"})
    assert said.get("server_port", "8443") == "8443"
    expected = {
        "client": "192.0.2.1",
        "port": 4711,
        "scheme": "https",
        "host": "example.com:8443",
        "prefix": "/shop",
        "path": "/shop/cart",
        "fields": sorted(name.lower() for name in X_FORWARDED),
        "told": {},
    }
    assert {name: said[name] for name in expected} == expected


def test_of_forwarded_as_well(start: Start) -> None:
    said = asked(start(*NAMED, "--forwarded", "forwarded"), FORWARDED | X_FORWARDED)
    assert (said["client"], said["port"], said["scheme"]) == ("192.0.2.1", 4711, "https")
    assert (said["host"], said["prefix"], said["fields"]) == ("example.com:8443", "", ["forwarded"])


def test_a_stranger_is_not_heard(start: Start) -> None:
    said = asked(start("--trusted-proxies", "10.0.0.0/8,unix"), X_FORWARDED | FORWARDED)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.1", "http", "inner:8000")
    assert (said["prefix"], said["path"], said["fields"]) == ("", "/cart", [])


def test_by_default_a_proxy_on_this_machine_speaks_for_address_and_scheme(start: Start) -> None:
    server = start()
    said = asked(server, X_FORWARDED)
    assert (said["client"], said["scheme"]) == ("192.0.2.1", "https")
    assert (said["host"], said["prefix"]) == ("inner:8000", "")
    assert asked(server, {})["client"] == "127.0.0.1"


def test_over_a_unix_socket_as_well(start: Start, tmp_path: Path) -> None:
    said = asked(start("--bind", f"unix:{tmp_path}/socket"), X_FORWARDED)
    assert (said["client"], said["scheme"]) == ("192.0.2.1", "https")


def test_off_leaves_the_fields_to_the_application(start: Start) -> None:
    said = asked(start("--forwarded", "off", *NAMED), X_FORWARDED | FORWARDED)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.1", "http", "inner:8000")
    assert len(said["fields"]) == len(X_FORWARDED | FORWARDED)


@pytest.mark.parametrize(
    ("networks", "client"),
    [("10.0.0.0/8", "127.0.0.1"), ("127.0.0.1", "192.0.2.1"), ("*", "6.6.6.6")],
)
def test_the_variable_of_gunicorn_and_uvicorn_is_heeded(serve: Serve, networks: str, client: str) -> None:
    server = serve(WSGI, "--workers", "1", env={"FORWARDED_ALLOW_IPS": networks})
    said = asked(server, X_FORWARDED)
    assert (said["client"], said["host"]) == (client, "inner:8000")


def test_an_option_overrides_that_variable(serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", *NAMED, env={"FORWARDED_ALLOW_IPS": "10.0.0.0/8"})
    assert asked(server, X_FORWARDED)["host"] == "example.com:8443"


@pytest.mark.parametrize("given", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", "fe80::1%lo"])
def test_what_is_no_network_is_one_line(given: str) -> None:
    for variable, finished in (
        ("--trusted-proxies", run_prefork("serve", str(WSGI), "--trusted-proxies", f"127.0.0.1, {given}")),
        ("FORWARDED_ALLOW_IPS", run_prefork("serve", str(WSGI), env={"FORWARDED_ALLOW_IPS": given})),
    ):
        assert finished.returncode == 2
        expected = (
            f"prefork: {variable}: expected networks such as 10.0.0.0/8, addresses, 'unix' or '*', got "
        )
        assert finished.stderr == f"{expected}{given!r}\n"


def test_a_handler_sees_it(serve: Serve) -> None:
    server = serve(EVENTS, *NAMED)
    assert asked(server, X_FORWARDED, "/cart?a=b") == {
        "client": "192.0.2.1",
        "port": 4711,
        "remote_ip": "192.0.2.1",
        "scheme": "https",
        "uri": "https://example.com:8443/shop/cart?a=b",
        "host": "example.com:8443",
        "fields": sorted(name.lower() for name in X_FORWARDED),
        "told": {},
    }


def test_a_websocket_sees_it(serve: Serve) -> None:
    server = serve(ASGI, "--workers", "1", *NAMED)
    place = f"ws://{server.host}:{server.port}/chat"
    with websockets.sync.client.connect(place, additional_headers=X_FORWARDED) as client:
        said = json.loads(client.recv())
    assert (said["client"], said["scheme"], said["host"]) == ("192.0.2.1", "wss", "example.com:8443")
    assert (said["prefix"], said["path"]) == ("/shop", "/shop/chat")


def test_a_prefix_replaces_the_root_path(start: Start) -> None:
    server = start(*NAMED, "--root-path", "/own")
    said = asked(server, {"X-Forwarded-Prefix": "/shop"}, "/shop/cart")
    assert (said["prefix"], said["path"]) == ("/shop", "/shop/shop/cart")
    assert asked(server, {"X-Forwarded-Proto": "https"}, "/own/cart")["prefix"] == "/own"


def test_each_request_of_a_connection_has_its_own_client(serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", "--access-log", "-")
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"
    plain = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    received = server.raw(request % 1 + request % 2 + plain)
    assert re.findall(rb'"client": "([^"]+)"', received) == [b"192.0.2.1", b"192.0.2.2", b"127.0.0.1"]
    server.stop()
    logged = [line.split()[0] for line in server.out if "GET /" in line]
    assert logged == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]


def test_each_stream_of_http2_has_its_own_client(start: Start) -> None:
    server = start("--h2c", *NAMED, "--access-log", "-")
    with http2(server) as client:
        streams = [client.ask("/cart", fields=over_http2(X_FORWARDED | FORWARDED))]
        streams += [client.ask(fields=[("x-forwarded-for", f"192.0.2.{number}")]) for number in (2, 3)]
        first, *others = [json.loads(client.response(stream).body) for stream in streams]
    assert (first["client"], first["port"], first["scheme"]) == ("192.0.2.1", 4711, "https")
    assert (first["host"], first["prefix"], first["path"]) == ("example.com:8443", "/shop", "/shop/cart")
    assert first["fields"] == sorted(name.lower() for name in X_FORWARDED)
    assert [said["client"] for said in others] == ["192.0.2.2", "192.0.2.3"]
    server.stop()
    logged = {line.split()[0] for line in server.out if '"GET /' in line}
    assert logged == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


def test_over_http2_a_stranger_is_not_heard_either(start: Start) -> None:
    with http2(start("--h2c", "--trusted-proxies", "10.0.0.1")) as client:
        said = json.loads(client.get("/cart", over_http2(X_FORWARDED | FORWARDED)).body)
    assert (said["client"], said["scheme"], said["host"]) == ("127.0.0.1", "http", "test")
    assert (said["prefix"], said["fields"]) == ("", [])


def over_http2(fields: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in fields.items()]


def test_errors_of_a_client_have_its_address(serve: Serve) -> None:
    server = serve(WSGI, "--workers", "1", "--body-min-rate", "1000000", "--max-body", "10")
    head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.%d\r\n"
    server.raw(head % 1 + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", half_close=True)
    server.raw(head % 2 + b"Content-Length: 9\r\n\r\n", half_close=True)
    server.wait_log("client 192.0.2.1: 400")
    server.wait_log("client 192.0.2.2: ")
    # A head that is malformed says nothing.
    server.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.3\r\nbad\r\n\r\n")
    server.wait_log("client 127.0.0.1: 400")


@pytest.mark.parametrize("field", ["X_Forwarded_For", "X-Forwarded_For", "HTTP_X_FORWARDED_FOR"])
def test_an_underscore_is_no_way_in(start: Start, field: str) -> None:
    said = asked(start(), {field: "6.6.6.6"})
    assert (said["client"], said["fields"]) == ("127.0.0.1", [])
