"""The PROXY protocol: who may send it, what it says, and what becomes of all else."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import tls
from support.apps import APPS
from support.http2 import Http2Client
from support.proxy_protocol import (
    ALPN,
    AUTHORITY,
    ENCRYPTED,
    LOCAL,
    PROXY,
    SIGNATURE,
    SSL,
    TELLING,
    TOLD,
    UNIQUE_ID,
    UNIX,
    UNSPEC,
    V1,
    tlv,
    version_2,
    version_2_of_ipv6,
)
from support.responses import only, read_all, read_response
from support.server import Serve, Server, running
from support.waiting import wait_until
from support.websocket import CLOSE, OPENING, frame

WSGI, ASGI = f"{APPS}/origins.py:wsgi", f"{APPS}/origins.py:asgi"
EVENTS = f"{APPS}/origin_events.py"
GET = b"GET / HTTP/1.1\r\nHost: inner\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n\r\n"
OPTIONS = ("--proxy-protocol", "--bind", "127.0.0.1:0", "--workers", "1", "--access-log", "-")


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with running(WSGI, *OPTIONS) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.forget_output()
    return shared


def origin(received: bytes) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(only(received).body)
    return said


HEADERS = {
    "version 1": (V1, "192.0.2.1", 4711, "http"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", "2001:db8::1", 4711, "http"),
    "version 2": (version_2(), "192.0.2.1", 4711, "http"),
    "version 2, IPv6": (version_2_of_ipv6("2001:db8::1"), "2001:db8::1", 4711, "http"),
    "version 2, TLS": (version_2(more=ENCRYPTED), "192.0.2.1", 4711, "https"),
    "version 2, more": (
        version_2(
            more=tlv(ALPN, b"http/1.1") + tlv(AUTHORITY, b"a.example") + tlv(UNIQUE_ID, b"7") + ENCRYPTED
        ),
        "192.0.2.1",
        4711,
        "https",
    ),
    "Unix": (version_2(kind=UNIX, addresses=bytes(216)), "", 0, "http"),
}


@pytest.mark.parametrize(("header", "client", "port", "scheme"), HEADERS.values(), ids=HEADERS)
def test_the_client_is_the_one_that_the_header_names(
    server: Server, header: bytes, client: str, port: int, scheme: str
) -> None:
    said = origin(server.raw(header + LAST))
    assert (said["client"], said["port"], said["scheme"]) == (client, port, scheme)
    wait_until(lambda: any("GET /" in line for line in server.out), "the access log")
    assert server.out[0].split()[0] == (client or "unix")


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1 2 3 4\r\n", version_2(LOCAL), version_2(LOCAL, UNSPEC, b"")],
    ids=["UNKNOWN", "UNKNOWN with more", "LOCAL", "LOCAL without addresses"],
)
def test_a_proxy_that_speaks_for_itself_is_the_client(server: Server, header: bytes) -> None:
    assert origin(server.raw(header + LAST))["client"] == "127.0.0.1"


@pytest.mark.parametrize("header", [V1, version_2(more=ENCRYPTED)], ids=["version 1", "version 2"])
def test_a_header_in_pieces(server: Server, header: bytes) -> None:
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + LAST:
            sock.sendall(bytes([byte]))
        assert origin(read_all(sock))["client"] == "192.0.2.1"


def test_all_requests_of_a_connection_have_its_client(server: Server) -> None:
    with server.connect() as sock:
        for data in (V1 + GET, GET):
            sock.sendall(data)
            assert json.loads(read_response(sock)[2])["client"] == "192.0.2.1"
        sock.sendall(LAST)
        assert origin(read_all(sock))["client"] == "192.0.2.1"


@pytest.mark.parametrize("application", [WSGI, ASGI, EVENTS], ids=["WSGI", "ASGI", "events"])
def test_an_application_learns_what_the_proxy_tells(serve: Serve, application: str) -> None:
    server = serve(Path(application), *OPTIONS)
    for header, told in ((version_2(more=TELLING), TOLD), (version_2(), {}), (V1, {})):
        with server.connect() as sock:
            sock.sendall(header)
            for _ in range(2):
                sock.sendall(GET)
                said = json.loads(read_response(sock)[2])
                assert (said["client"], said["told"]) == ("192.0.2.1", told)
                assert said["scheme"] == ("https" if told else "http")
    for speaks_for_itself in (LOCAL, PROXY):
        said = origin(server.raw(version_2(speaks_for_itself, UNSPEC, b"", more=TELLING) + LAST))
        assert (said["client"], said["told"]) == ("127.0.0.1", {})


def test_a_websocket_learns_what_the_proxy_tells(serve: Serve) -> None:
    server = serve(Path(ASGI), *OPTIONS)
    opening = OPENING.format(path="/", fields="").encode()
    received = server.raw(version_2(more=TELLING) + opening + frame(CLOSE))
    told = json.loads(received[received.index(b"{") : received.rindex(b"}") + 1])["told"]
    assert told == TOLD


def test_the_longest_header_is_told_whole(server: Server) -> None:
    name = "x" * (4096 - 16 - 12 - 3)
    said = origin(server.raw(version_2(more=tlv(AUTHORITY, name.encode())) + LAST))
    assert said["told"] == {"authority": name}


WRONG = {
    "HTTP": (GET, "begins without a header"),
    "half a signature": (SIGNATURE[:8] + b"GET", "begins without a header"),
    "TLS": (b"\x16\x03\x01\x02\x00", "begins without a header"),
    "a line too long": (b"PROXY UNKNOWN " + b"x" * 200, "too long"),
    "a length too large": (SIGNATURE + b"\x21\x11\xff\xff" + bytes(9000), "too long"),
    "no such address": (b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n", "malformed"),
    "no such command": (version_2(0x22), "malformed"),
    "no such version": (version_2(0x11), "malformed"),
    "addresses cut short": (SIGNATURE + b"\x21\x11\0\4" + bytes(4), "malformed"),
    "extensions cut short": (version_2(more=b"\x01\0\x09h2"), "malformed"),
    "extensions of TLS cut short": (version_2(more=tlv(SSL, bytes(5) + b"\x21\0\x09TLS")), "malformed"),
    "wrong checksum": (version_2(more=tlv(3, bytes(4))), "checksum"),
    "line end of Unix": (V1.replace(b"\r\n", b"\n"), "malformed"),
}


@pytest.mark.parametrize(("header", "reason"), WRONG.values(), ids=WRONG)
def test_a_connection_without_a_valid_header_is_refused(server: Server, header: bytes, reason: str) -> None:
    assert server.raw(header) == b""
    line = server.wait_log("refused")
    assert "client 127.0.0.1: the connection was refused: " in line
    assert reason in line
    assert origin(server.raw(V1 + LAST))["client"] == "192.0.2.1"  # nothing else is lost
    assert len(server.err) == 1


def test_a_connection_that_only_closes_is_nothing(server: Server) -> None:
    server.raw(b"", half_close=True)
    server.raw(V1[:9], half_close=True)
    origin(server.raw(V1 + LAST))
    assert server.err == []


def test_a_stranger_is_refused_before_it_is_read(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", "--trusted-proxies", "10.0.0.0/8")
    for data in (V1 + LAST, b"P"):
        assert server.raw(data) == b""
    wait_until(lambda: server.log.count("refused: it comes from none of the trusted_proxies") == 2, "the log")


def test_a_header_that_does_not_come_in_time(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", "--header-timeout", "0.3")
    with server.connect() as sock:
        sock.sendall(V1[:20])
        began = time.monotonic()
        assert read_all(sock) == b""
        assert time.monotonic() - began > 0.2
    with server.connect() as sock:
        sock.sendall(V1 + GET[:10])
        assert only(read_all(sock)).status == 408


def test_the_client_of_the_header_is_no_trusted_proxy(server: Server) -> None:
    """It is the client that has sent the fields, and not the proxy."""
    forged = LAST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    said = origin(server.raw(V1 + forged))
    assert (said["client"], said["fields"]) == ("192.0.2.1", [])
    said = origin(server.raw(V1.replace(b"192.0.2.1", b"127.0.0.1") + forged))
    assert (said["client"], said["fields"]) == ("6.6.6.6", ["x-forwarded-for"])


def test_without_the_option_a_header_is_no_request(serve: Serve) -> None:
    server = serve(Path(WSGI), "--workers", "1")
    assert only(server.raw(V1 + LAST)).status == 400


def test_it_comes_before_tls(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", *tls.OPTIONS)
    for header in (V1, version_2()):
        for size in (len(header), 5):
            plain = socket.create_connection((server.host, server.port), timeout=20)
            for at in range(0, len(header), size):
                plain.sendall(header[at : at + size])
            time.sleep(0.05)  # so that all of it is read before the handshake begins
            with tls.wrap(plain) as sock:
                sock.sendall(LAST)
                said = origin(read_all(sock))
            assert (said["client"], said["scheme"]) == ("192.0.2.1", "https")
    with socket.create_connection((server.host, server.port), timeout=20) as plain:
        plain.sendall(GET)
        assert read_all(plain) == b""
    server.wait_log("begins without a header")


def test_header_and_first_record_may_come_together(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", *tls.OPTIONS)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((server.host, server.port), timeout=20) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = V1
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(first + outgoing.read())
                first = b""
                incoming.write(plain.recv(65536))
        client.write(LAST)
        plain.sendall(outgoing.read())
        received = b""
        while b"}" not in received:
            incoming.write(plain.recv(65536))
            try:
                received += client.read(65536)
            except ssl.SSLWantReadError:
                continue
    assert b'"client": "192.0.2.1"' in received


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_hand_off_keeps_the_client(serve: Serve, encrypted: bool) -> None:
    options = tls.OPTIONS if encrypted else ()
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", *options)
    plain = socket.create_connection((server.host, server.port), timeout=20)
    plain.sendall(version_2(more=TELLING))
    with tls.wrap(plain) if encrypted else plain as sock:
        pids = set()
        for _ in range(3):
            sock.sendall(GET)
            _, fields, body = read_response(sock)
            said = json.loads(body)
            assert (said["client"], said["port"], said["scheme"]) == ("192.0.2.1", 4711, "https")
            assert said["told"] == TOLD
            pids.add(fields["x-pid"])
            old = server.workers()
            server.signal(signal.SIGHUP)
            server.wait_without(old)
        assert len(pids) == 3
    assert server.status()["totals"]["handed_off"] >= 2


@pytest.mark.parametrize("cut", [0, 9])
def test_a_hand_off_before_the_end_of_the_header_reads_the_rest_elsewhere(
    serve: Serve, tmp_path: Path, cut: int
) -> None:
    place = ("--bind", f"unix:{tmp_path}/socket")  # where a client is accepted before it sends anything
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", *place, *tls.OPTIONS)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(20)
        plain.connect(f"{tmp_path}/socket")
        plain.sendall(V1[:cut])
        wait_until(lambda: server.status()["totals"]["connections"] == 1, "it is accepted")
        wait_until(lambda: server.status()["workers"][0]["since_turn_s"] < 0.05, "what came is read")
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_without(old)
        plain.sendall(V1[cut:])
        with tls.wrap(plain) as sock:
            sock.sendall(LAST)
            assert origin(read_all(sock))["client"] == "192.0.2.1"


def test_a_reset_amid_the_header_leaves_nothing(server: Server) -> None:
    for header in (V1[:11], SIGNATURE + b"\x21"):
        with server.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(header)
    wait_until(lambda: server.status()["totals"]["connections"] == 0, "all are gone")
    assert origin(server.raw(V1 + LAST))["client"] == "192.0.2.1"


def test_each_address_may_have_it_or_not(serve: Serve, tmp_path: Path) -> None:
    places = ("--bind", f"unix:{tmp_path}/socket", "--bind", "127.0.0.1:0,proxy,tls")
    server = serve(Path(WSGI), "--workers", "1", *places, *tls.OPTIONS)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(20)
        plain.connect(f"{tmp_path}/socket")
        plain.sendall(LAST)
        said = origin(read_all(plain))
        assert (said["client"], said["scheme"]) == ("", "http")
    port = int(re.findall(r"https://127.0.0.1:(\d+)", "".join(server.out))[0])
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    plain.sendall(V1)
    with tls.wrap(plain) as sock:
        sock.sendall(LAST)
        said = origin(read_all(sock))
    assert (said["client"], said["scheme"]) == ("192.0.2.1", "https")


def test_http2_follows_it_as_well(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", "--h2c")
    sock = server.connect()
    sock.sendall(version_2(more=TELLING))
    with Http2Client(sock) as client:
        for _ in range(2):
            said = json.loads(client.get("/", [("x-forwarded-for", "6.6.6.6")]).body)
            assert (said["client"], said["scheme"], said["fields"]) == ("192.0.2.1", "https", [])
            assert said["told"] == TOLD


def test_http2_over_tls_follows_it_as_well(serve: Serve) -> None:
    server = serve(Path(WSGI), "--proxy-protocol", "--workers", "1", *tls.OPTIONS)
    plain = socket.create_connection((server.host, server.port), timeout=20)
    plain.sendall(V1)
    context = ssl.create_default_context(cafile=tls.CERT)
    context.set_alpn_protocols(["h2"])
    sock = context.wrap_socket(plain, server_hostname="localhost")
    assert sock.selected_alpn_protocol() == "h2"
    with Http2Client(sock) as client:
        said = json.loads(client.get().body)
    assert (said["client"], said["scheme"]) == ("192.0.2.1", "https")
