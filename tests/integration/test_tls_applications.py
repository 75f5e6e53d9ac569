"""What applications learn about an encrypted connection, and what a client gets that speaks without TLS."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from pathlib import Path

import pytest
from cryptography.x509.oid import NameOID
from websockets.sync.client import connect

from support.apps import APPS
from support.certificates import Authority, Files, pem, save
from support.processes import alive
from support.responses import read_all
from support.server import Serve, Server
from support.tls import TlsSocket
from support.tls_client import Client, ask
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "tls_app.py"
ALICE = [
    (NameOID.COUNTRY_NAME, "DE"),
    (NameOID.ORGANIZATION_NAME, "Größe, Inc."),
    (NameOID.COMMON_NAME, "alice"),
]


class Site:
    """An authority, a server's certificate and a client's, in files."""

    def __init__(self, directory: Path) -> None:
        self.root = Authority()
        self.between = Authority("Test Intermediate", self.root)
        self.authority = self.root.save(directory)
        self.chain, key = self.between.issue("localhost", "*.example.com")
        self.files = save(directory, self.chain, key)
        self.client_chain, key = self.root.issue(subject=ALICE)
        self.client = save(directory, self.client_chain, key, "client")

    @property
    def client_flags(self) -> tuple[str, ...]:
        return "--tls-client-ca", str(self.authority), "--tls-client-auth", "optional"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def plain(server: Server) -> socket.socket:
    """A connection without TLS."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)


def target(name: str) -> str:
    return f"{APP}:{name}"


def test_an_environ_has_the_variables_of_mod_ssl(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags, *site.client_flags)
    assert server.url.startswith("https://")
    told = Client(server.port, site.authority).ask().body
    assert told["wsgi.url_scheme"] == "https"
    assert told["HTTPS"] == "on"
    assert told["SERVER_PORT"] == str(server.port)
    assert told["SSL_PROTOCOL"] == "TLSv1.3"
    assert told["SSL_CIPHER"] == "TLS_AES_256_GCM_SHA384"
    assert told["SSL_CIPHER_USEKEYSIZE"] == "256"
    assert told["SSL_TLS_SNI"] == "localhost"
    assert told["SSL_SESSION_RESUMED"] == "Initial"
    assert told["SSL_CLIENT_VERIFY"] == "NONE"
    assert not [name for name in told if name.startswith("SSL_CLIENT_") and name != "SSL_CLIENT_VERIFY"]


@pytest.mark.parametrize("application", ["wsgi", "asgi"])
def test_all_of_it_is_the_same_in_the_worker_that_a_connection_moves_to(
    site: Site, serve: Serve, tmp_path: Path, application: str
) -> None:
    """The certificates of client and server, whatever else the handshake has settled."""
    chain, key = site.between.issue(subject=ALICE)
    server = serve(Path(target(application)), "--workers", "1", *site.files.flags, *site.client_flags)
    client = Client(server.port, site.authority, save(tmp_path, chain, key, "chained"))
    with client.connect("shop.example.com") as sock:
        before = ask(sock)
        server.signal(signal.SIGHUP)
        wait_until(lambda: not alive(before["pid"]), "its worker to go")
        after = ask(sock)
    assert after.pop("pid") != before.pop("pid")
    assert after == before
    assert "alice" in json.dumps(after)


def test_an_environ_describes_a_connection_of_tls_1_2(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags)
    client = Client(
        server.port, site.authority, version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"
    )
    told = client.ask().body
    assert told["SSL_PROTOCOL"] == "TLSv1.2"
    assert told["SSL_CIPHER"] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert told["SSL_CIPHER_ALGKEYSIZE"] == "128"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_environ_has_the_certificate_of_the_client(
    version: ssl.TLSVersion, site: Site, serve: Serve
) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags, *site.client_flags)
    told = Client(server.port, site.authority, site.client, version).ask().body
    assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
    # Each character is a byte of UTF-8 (PEP 3333).
    assert told["SSL_CLIENT_S_DN"].encode("latin-1").decode() == r"CN=alice,O=Größe\, Inc.,C=DE"
    assert told["SSL_CLIENT_S_DN_CN"] == "alice"
    assert told["SSL_CLIENT_I_DN"] == "CN=Test Root"
    certificate = site.client_chain[0]
    assert int(told["SSL_CLIENT_M_SERIAL"], 16) == certificate.serial_number
    assert told["SSL_CLIENT_CERT"].encode() == pem(certificate)
    end = certificate.not_valid_after_utc
    assert told["SSL_CLIENT_V_END"] == f"{end:%b} {end.day:2} {end:%H:%M:%S %Y} GMT"


def test_a_plain_connection_has_none_of_it(serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1")
    told = json.loads(server.get())
    assert told["wsgi.url_scheme"] == "http"
    assert not [name for name in told if name.startswith(("SSL_", "HTTPS"))]


def test_a_field_of_the_client_is_no_variable(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags)
    with Client(server.port, site.authority).connect() as sock:
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nSSL-Client-Verify: SUCCESS\r\nConnection: close\r\n\r\n"
        )
        told = json.loads(read_all(sock).partition(b"\r\n\r\n")[2])
    assert told["SSL_CLIENT_VERIFY"] == "NONE"
    assert told["HTTP_SSL_CLIENT_VERIFY"] == "SUCCESS"


def test_a_thread_knows_the_session_and_offers_the_socket(site: Site, serve: Serve) -> None:
    """What is on that socket is plain: `test_wsgi_sockets.py`."""
    server = serve(Path(target("wsgi")), "--workers", "1", "--threads", "2", *site.files.flags)
    told = Client(server.port, site.authority).ask().body
    assert told["SSL_PROTOCOL"] == "TLSv1.3"
    assert told["sockets"] == ["gunicorn.socket", "werkzeug.socket"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_scope_has_the_tls_extension(loop: str, site: Site, serve: Serve) -> None:
    flags = ("--workers", "1", "--loop", loop, *site.files.flags, *site.client_flags)
    server = serve(Path(target("asgi")), *flags)
    told = Client(server.port, site.authority).ask().body
    assert told["scheme"] == "https"
    assert told["tls"] == {
        "server_cert": pem(site.chain[0]).decode(),
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1302,
    }
    tls = Client(server.port, site.authority, site.client).ask().body["tls"]
    assert tls["client_cert_chain"][0] == pem(site.client_chain[0]).decode()
    assert tls["client_cert_name"] == r"CN=alice,O=Größe\, Inc.,C=DE"


def test_a_plain_scope_has_no_tls_extension(serve: Serve) -> None:
    server = serve(Path(target("asgi")), "--workers", "1")
    told = json.loads(server.get())
    assert (told["scheme"], told["tls"]) == ("http", None)


def test_a_websocket_of_https_is_wss(site: Site, serve: Serve) -> None:
    server = serve(Path(target("asgi")), "--workers", "1", *site.files.flags)
    context = ssl.create_default_context(cafile=site.authority)
    sock = TlsSocket(socket.create_connection((server.host, server.port), DEADLINE_S), context)
    with connect(f"ws://localhost:{server.port}/", sock=sock, proxy=None) as websocket:
        told = json.loads(websocket.recv(DEADLINE_S))
    assert told["scheme"] == "wss"
    assert told["tls"]["tls_version"] == 0x0304


@pytest.mark.parametrize("pool", [False, True])
def test_a_handler_sees_https_and_the_cipher(pool: bool, tmp_path: Path, serve: Serve) -> None:
    """With the options of POE::Component::Server::SimpleHTTP: key and certificate, and what is between it
    and the root.
    """
    site = Site(tmp_path)
    alone = Files(tmp_path / "alone.pem", site.files.key)
    alone.cert.write_bytes(pem(site.chain[0]))
    between = tmp_path / "between.pem"
    between.write_bytes(pem(site.between.certificate))
    options = {
        "ssl_key_cert": (str(alone.key), str(alone.cert)),
        "ssl_intermediate_ca_cert": str(between),
        "pool": pool,
    }
    server = serve(Path(target("events")), "--factory", bind=False, parameters={"options": options})
    told = Client(server.port, site.authority).ask(path="/a?b").body
    assert told["uri"] == "https://localhost/a?b"
    assert told["ssl"] is True
    assert told["cipher"] == "TLS_AES_256_GCM_SHA384"


def test_a_client_without_tls_gets_a_400_that_says_so(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags)
    with plain(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = read_all(sock)
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"This port speaks TLS: the address must begin with https://" in body
    Client(server.port, site.authority).ask()  # the worker lives on


# --- handshakes that fail -------------------------------------------------------------------------------


def test_a_handshake_that_fails_is_one_line(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", "--tls-min-version", "1.3", *site.files.flags)
    with pytest.raises(ssl.SSLError):
        Client(server.port, version=ssl.TLSVersion.TLSv1_2).ask()
    line = server.wait_log("the TLS handshake failed")
    assert "client 127.0.0.1: the TLS handshake failed: the client offers no version of TLS" in line
    assert "Traceback" not in server.log


def test_a_client_that_does_not_trust_the_certificate_is_one_line(
    site: Site, tmp_path: Path, serve: Serve
) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags)
    other = Authority("Other Root").save(tmp_path)
    with pytest.raises(ssl.SSLError):
        Client(server.port, other).ask()
    server.wait_log("the TLS handshake failed: the client does not trust the certificate")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"x" * 70_000])
def test_garbage_instead_of_a_handshake_costs_its_connection(
    garbage: bytes, site: Site, serve: Serve
) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", *site.files.flags)
    with plain(server) as sock:
        sock.sendall(garbage)
        read_all(sock)
    server.wait_log("the TLS handshake failed: the client does not follow the protocol")
    Client(server.port, site.authority).ask()


def half_hello(server: Server) -> socket.socket:
    """A client that sends half of its first message."""
    sock = plain(server)
    out = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = out.read()
    sock.sendall(hello[: len(hello) // 2])
    return sock


def test_half_handshakes_keep_no_other_client_waiting_and_are_closed(site: Site, serve: Serve) -> None:
    server = serve(Path(target("wsgi")), "--workers", "1", "--header-timeout", "3", *site.files.flags)
    halves = [half_hello(server) for _ in range(200)]
    client = Client(server.port, site.authority)
    assert client.ask().body["SSL_PROTOCOL"] == "TLSv1.3"
    for half in halves:
        with half:
            assert half.recv(100) == b""
    assert client.ask().body["SSL_PROTOCOL"] == "TLSv1.3"
