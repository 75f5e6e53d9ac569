"""What load balancers of clouds say, in the forms of their documentation."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.apps import APPS
from support.proxy_protocol import LOCAL, UNSPEC, V1, tlv, version_2
from support.responses import only
from support.server import Server, running

WSGI = f"{APPS}/origins.py:wsgi"
ONE = ("--workers", "1", "--bind", "127.0.0.1:0")
OWN = "203.0.113.9"
"""The balancer's address that clients connect to: Google's adds it to the list."""
FORGED = "6.6.6.6"

# By default all of them append to what a client sends.
FIELDS = {
    "AWS, application load balancer": (
        {
            "X-Forwarded-For": f"{FORGED}, 192.0.2.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "443",
            "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
        },
        ("192.0.2.1", 0),
    ),
    "AWS, with routing.http.xff_client_port.enabled": (
        {"X-Forwarded-For": "192.0.2.1:4711", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"},
        ("192.0.2.1", 4711),
    ),
    "AWS, a client of IPv6": (
        {"X-Forwarded-For": "[2001:db8::1]:4711", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"},
        ("2001:db8::1", 4711),
    ),
    "Google Cloud, application load balancer": (
        {
            "X-Forwarded-For": f"{FORGED},192.0.2.1,{OWN}",
            "X-Forwarded-Proto": "https",
            "X-Cloud-Trace-Context": "0123456789abcdef0123456789abcdef/1",
            "Via": "1.1 google",
        },
        ("192.0.2.1", 0),
    ),
    "Azure, Application Gateway": (
        {
            "X-Forwarded-For": f"{FORGED}, 192.0.2.1:4711",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "443",
            "X-Original-Host": "shop.example",
            "X-Original-Url": "/cart",
        },
        ("192.0.2.1", 4711),
    ),
    "Cloudflare": (
        {
            "X-Forwarded-For": f"{FORGED},192.0.2.1",
            "X-Forwarded-Proto": "https",
            "CF-Connecting-IP": "192.0.2.1",
            "CF-Visitor": '{"scheme":"https"}',
            "CF-Ray": "230b030023ae2822-SJC",
        },
        ("192.0.2.1", 0),
    ),
    "Heroku": (
        {
            "X-Forwarded-For": f"{FORGED}, 192.0.2.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "443",
            "X-Request-Start": "1700000000000",
            "Via": "1.1 vegur",
        },
        ("192.0.2.1", 0),
    ),
}


@pytest.fixture(scope="module")
def named() -> Iterator[Server]:
    """One that names the networks of its balancer."""
    with running(WSGI, *ONE, "--trusted-proxies", f"127.0.0.1,{OWN}") as server:
        yield server


@pytest.fixture(scope="module")
def introduced() -> Iterator[Server]:
    with running(WSGI, *ONE, "--proxy-protocol") as server:
        yield server


@pytest.mark.parametrize(("fields", "client"), FIELDS.values(), ids=FIELDS)
def test_the_fields_of_a_balancer(named: Server, fields: dict[str, str], client: tuple[str, int]) -> None:
    place = f"http://{named.host}:{named.port}/cart"
    said = httpx.get(place, headers={**fields, "Host": "shop.example"}).json()
    assert (said["client"], said["port"]) == client
    assert (said["scheme"], said["host"], said["server_port"]) == ("https", "shop.example", "443")


def test_a_router_without_a_fixed_address() -> None:
    """Each peer is trusted: the address is what the client claims, and the scheme is the router's."""
    fields, _ = FIELDS["Heroku"]
    with running(WSGI, *ONE, env={"FORWARDED_ALLOW_IPS": "*"}) as server:
        said = httpx.get(f"http://{server.host}:{server.port}/cart", headers=fields).json()
    assert (said["client"], said["scheme"]) == (FORGED, "https")


CLOUD_HEADERS = {
    "AWS, network load balancer": (
        version_2(more=tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9") + tlv(0x04, bytes(36))),
        {"0xea": "\x01vpce-08d2bf15fac5001c9"},
    ),
    "Google Cloud, proxy network load balancer": (V1, {}),
    "Google Cloud, Private Service Connect": (
        version_2(more=tlv(0xE0, struct.pack("!Q", 0xFFFFC0A8))),
        {"0xe0": "\0\0\0\0\xff\xff\xc0\xa8"},
    ),
    "Azure, Private Link": (
        version_2(more=tlv(0xEE, b"\x01" + struct.pack("<I", 0x0A0B0C0D))),
        {"0xee": "\x01\x0d\x0c\x0b\x0a"},
    ),
}


@pytest.mark.parametrize(("header", "told"), CLOUD_HEADERS.values(), ids=CLOUD_HEADERS)
def test_the_header_of_a_balancer(introduced: Server, header: bytes, told: dict[str, str]) -> None:
    said = asked(introduced, header)
    assert (said["client"], said["port"], said["told"]) == ("192.0.2.1", 4711, told)


@pytest.mark.parametrize(
    "header", [version_2(LOCAL, UNSPEC, b""), b"PROXY UNKNOWN\r\n"], ids=["version 2", "version 1"]
)
def test_a_balancer_checks_the_server(introduced: Server, header: bytes) -> None:
    introduced.forget_output()
    assert asked(introduced, header)["client"] == "127.0.0.1"
    assert introduced.err == []


def asked(server: Server, header: bytes) -> dict[str, Any]:
    request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
    said: dict[str, Any] = json.loads(only(server.raw(header + request)).body)
    return said
