"""Certificates of a server that runs: which one a client gets, what clients must show, and changes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.certificates import Authority, Files, make_key, save
from support.control import command, done
from support.proxy_protocol import V1
from support.responses import read_all
from support.server import Serve, Server, run_prefork, status_json
from support.tls_client import Client, ask
from support.waiting import wait_until

WSGI = Path(f"{APPS / 'tls_app.py'}:wsgi")


@pytest.fixture
def root() -> Authority:
    return Authority()


def serve_tls(serve: Serve, files: Files, *flags: str, workers: int = 1) -> Server:
    return serve(WSGI, "--workers", str(workers), *files.flags, *flags)


# --- which one ------------------------------------------------------------------------------------------


def test_the_name_that_a_client_asks_for_chooses_the_certificate(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    first = save(tmp_path, *root.issue("localhost"), "first")
    wild = save(tmp_path, *root.issue("*.example.com"), "wild")
    exact = save(tmp_path, *root.issue("www.example.com"), "exact")
    server = serve_tls(serve, first, *wild.flags, *exact.flags)
    client = Client(server.port, authority)
    assert client.ask("localhost").names == ["localhost"]
    assert client.ask("www.example.com").names == ["www.example.com"]
    assert client.ask("WWW.Example.COM").names == ["www.example.com"]
    assert client.ask("shop.example.com").names == ["*.example.com"]
    client.context.check_hostname = False
    # A wildcard stands for one label; the first certificate is that of all others.
    for name in ("a.b.example.com", "example.com", "other.test", None):
        assert client.ask(name).names == ["localhost"], name


def test_a_client_gets_the_certificate_whose_key_it_can_use(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    ecdsa = save(tmp_path, *root.issue("localhost"), "ecdsa")
    rsa = save(tmp_path, *root.issue("localhost", key=make_key("rsa")), "rsa")
    server = serve_tls(serve, ecdsa, *rsa.flags)
    for kind in ("ECDSA", "RSA"):
        ciphers = f"ECDHE-{kind}-AES128-GCM-SHA256"
        client = Client(server.port, authority, version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
        client.context.set_ecdh_curve("prime256v1")
        assert client.ask().body["SSL_CIPHER"] == ciphers


def test_only_the_given_ciphers_are_offered(root: Authority, tmp_path: Path, serve: Serve) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files, "--tls-ciphers", "TLS_AES_128_GCM_SHA256")
    assert Client(server.port).ask().body["SSL_CIPHER"] == "TLS_AES_128_GCM_SHA256"
    with pytest.raises(ssl.SSLError):
        Client(server.port, version=ssl.TLSVersion.TLSv1_2).ask()


@pytest.mark.parametrize(("flags", "chosen"), [((), "h2"), (("--tls-alpn", "http/1.1"), "http/1.1")])
def test_only_the_given_protocols_are_offered(
    flags: tuple[str, ...], chosen: str, root: Authority, tmp_path: Path, serve: Serve
) -> None:
    server = serve_tls(serve, save(tmp_path, *root.issue("localhost")), *flags)
    client = Client(server.port)
    client.context.set_alpn_protocols(["h2", "http/1.1"])
    with client.connect() as sock:
        assert sock.selected_alpn_protocol() == chosen


def test_a_key_with_a_password(root: Authority, tmp_path: Path, serve: Serve) -> None:
    files = save(tmp_path, *root.issue("localhost"), password=b"secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    server = serve_tls(serve, files, "--tls-key-password-file", str(password))
    assert Client(server.port).ask().body["SSL_PROTOCOL"] == "TLSv1.3"


# --- what clients must show -----------------------------------------------------------------------------


def refused(client: Client) -> bool:
    """Whether the server ends the connection. In TLS 1.3 a client hears of it when it reads."""
    try:
        client.ask()
    except (ssl.SSLError, ConnectionError):
        return True
    return False


def test_a_client_without_a_certificate_is_refused(root: Authority, tmp_path: Path, serve: Serve) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files, "--tls-client-ca", str(root.save(tmp_path)))
    assert refused(Client(server.port))
    server.wait_log("the TLS handshake failed: the client has sent no certificate")
    stranger = save(tmp_path, *Authority("Stranger").issue("mallory"), "stranger")
    assert refused(Client(server.port, client=stranger))
    server.wait_log("the TLS handshake failed: the client's certificate is of an unknown issuer")
    old = save(tmp_path, *root.issue("bob", days=(-9, -1)), "old")
    assert refused(Client(server.port, client=old))
    server.wait_log("the TLS handshake failed: the client's certificate has expired")
    good = save(tmp_path, *root.issue("alice"), "good")
    assert Client(server.port, client=good).ask().body["SSL_CLIENT_S_DN_CN"] == "alice"


def test_a_client_is_not_asked_for_a_certificate_if_none_is_wanted(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    flags = ("--tls-client-ca", str(root.save(tmp_path)), "--tls-client-auth", "none")
    server = serve_tls(serve, files, *flags)
    stranger = save(tmp_path, *Authority("Stranger").issue("mallory"), "stranger")
    for client in (None, stranger):
        assert Client(server.port, client=client).ask().body["SSL_CLIENT_VERIFY"] == "NONE"


def test_a_revoked_certificate_is_refused_also_with_a_ticket_from_before(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    files = save(tmp_path, *root.issue("localhost"))
    (alice, *_), key = root.issue("alice")
    client = save(tmp_path, [alice], key, "alice")
    revoked = root.revoke(tmp_path)
    server = serve_tls(serve, files, "--tls-client-ca", str(authority), "--tls-client-crl", str(revoked))
    before = Client(server.port, client=client)
    ticket = before.ask().session
    assert before.ask(session=ticket).resumed
    root.revoke(tmp_path, alice)
    server.wait_log("the certificates were read again")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        before.ask(session=ticket)
    server.wait_log("the TLS handshake failed: the client's certificate is revoked")
    bob = save(tmp_path, *root.issue("bob"), "bob")
    assert Client(server.port, client=bob).ask().body["SSL_CLIENT_S_DN_CN"] == "bob"


def test_a_list_that_has_expired_is_one_line_and_the_server_serves(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    alice = save(tmp_path, *root.issue("alice"), "alice")
    revoked = root.revoke(tmp_path, days=-0.01)
    flags = ("--tls-client-ca", str(authority), "--tls-client-crl", str(revoked))
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files, *flags, "--tls-client-auth", "optional")
    told = f"TLS: the list of revoked certificates {revoked} (CN=Test Root) has expired: "
    server.wait_log(told)
    assert Client(server.port).ask().body["SSL_CLIENT_VERIFY"] == "NONE"
    assert refused(Client(server.port, client=alice))
    server.wait_log("the TLS handshake failed: the list of revoked certificates has expired")
    root.revoke(tmp_path)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_log("the certificates were read again")
    assert Client(server.port, client=alice).ask().body["SSL_CLIENT_S_DN_CN"] == "alice"
    assert server.log.count(told) == 1


# --- changes --------------------------------------------------------------------------------------------


def serial(client: Client) -> str:
    with client.connect() as sock:
        found = sock.getpeercert()
        assert found
        return str(found["serialNumber"])


@pytest.mark.parametrize("pool", [True, False])
def test_files_that_change_are_used_and_no_connection_is_closed(
    pool: bool, root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    files = save(tmp_path, *root.issue("localhost"))
    flags = ("--workers", "2") if pool else ("--start", "0")
    server = serve(WSGI, *flags, *files.flags)
    client = Client(server.port, authority)
    former = serial(client)
    with client.connect() as kept:
        pid = ask(kept)["pid"]
        chain, key = root.issue("localhost")
        new = save(tmp_path, chain, key, "new")
        shutil.copy(new.cert, files.cert)  # one after the other, as a person does it
        os.replace(new.key, files.key)
        server.wait_log("the certificates were read again")
        assert serial(client) != former
        assert int(serial(client), 16) == chain[0].serial_number
        assert ask(kept)["pid"] == pid
    assert "ERROR" not in server.log


def test_status_tells_when_each_certificate_ends(root: Authority, tmp_path: Path, serve: Serve) -> None:
    first, second = (save(tmp_path, *root.issue(name), name) for name in ("localhost", "example.com"))
    server = serve_tls(serve, first, *second.flags)

    def told() -> list[tuple[str, str, Any]]:
        found = status_json(str(server.glue))["manager"]["certificates"]
        return [(one["file"], one["subject"], one["ends_unix_s"]) for one in found]

    (_, _, end), other = told()
    assert other == (str(second.cert), "CN=example.com", pytest.approx(time.time() + 90 * 86_400, abs=600))
    chain, key = root.issue("localhost", days=(-1, 30))
    save(tmp_path, chain, key, "localhost")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_log("the certificates were read again")
    new_end = chain[0].not_valid_after_utc.timestamp()
    assert new_end < end
    assert told() == [(str(first.cert), "CN=localhost", new_end), other]


def test_hup_reads_them_at_once(root: Authority, tmp_path: Path, serve: Serve) -> None:
    authority = root.save(tmp_path)
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files, workers=2)
    client = Client(server.port, authority)
    (pid, *_) = server.workers()
    chain, key = root.issue("localhost")
    save(tmp_path, chain, key)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_log("the certificates were read again")
    assert int(serial(client), 16) == chain[0].serial_number
    wait_until(lambda: pid not in server.workers(), "another worker")
    assert int(serial(client), 16) == chain[0].serial_number  # also from a new worker


def test_hup_reads_them_without_a_pool_too_and_ends_nothing(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    files = save(tmp_path, *root.issue("localhost"))
    server = serve(WSGI, "--start", "0", *files.flags)
    client = Client(server.port, authority)
    with client.connect() as kept:
        assert ask(kept)["pid"] == server.pid
        chain, key = root.issue("localhost")
        save(tmp_path, chain, key)
        os.kill(server.pid, signal.SIGHUP)
        server.wait_log("the certificates were read again")
        assert int(serial(client), 16) == chain[0].serial_number
        files.cert.write_text("no certificate")
        os.kill(server.pid, signal.SIGHUP)
        assert f"TLS: {files.cert}: " in server.wait_log("the former certificates stay")
        assert int(serial(client), 16) == chain[0].serial_number
        assert ask(kept)["pid"] == server.pid
    assert "replacing" not in server.log
    assert server.stop() == 0


def test_a_server_without_certificates_and_a_pool_ends_with_hup(serve: Serve) -> None:
    server = serve(WSGI, "--start", "0")
    os.kill(server.pid, signal.SIGHUP)
    assert server.wait() == -signal.SIGHUP


def test_a_bad_certificate_is_refused_and_the_old_one_stays(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority = root.save(tmp_path)
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files)
    client = Client(server.port, authority)
    former = serial(client)
    other = save(tmp_path, *root.issue("localhost"), "other")
    shutil.copy(other.cert, files.cert)  # and the key is the old one
    line = server.wait_log("the former certificates stay")
    assert f"TLS: {files.cert}: the key in {files.key} does not fit the certificate" in line
    assert serial(client) == former
    shutil.copy(other.key, files.key)
    server.wait_log("the certificates were read again")
    assert serial(client) != former


def test_a_reload_takes_other_files_and_tells_of_those_that_it_cannot_use(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    authority, settings = root.save(tmp_path), tmp_path / "prefork.toml"
    first, second = (save(tmp_path, *root.issue("localhost"), name) for name in ("first", "second"))

    def configure(files: Files, more: str = "") -> None:
        settings.write_text(f'workers = 1\ntls_cert = "{files.cert}"\ntls_key = "{files.key}"\n{more}')

    configure(first)
    server = serve(WSGI, "--config", str(settings))
    client = Client(server.port, authority)
    former = serial(client)
    configure(second)
    assert "every worker is of generation 2; certificates read again" in done(server, "reload")
    assert (changed := serial(client)) != former
    configure(Files(tmp_path / "missing.pem", second.key))
    failed = command(server, "reload")
    assert failed.returncode == 1
    assert "TLS: cannot read" in failed.stderr
    assert "generation 2 serves on" in failed.stderr
    configure(second, 'tls_min_version = "1.3"\n')
    done(server, "reload")
    assert "reload: tls_min_version has changed, which takes a restart" in server.log
    assert "start_servers has changed" not in server.log
    second.cert.write_text("no certificate")
    failed = command(server, "reload")
    assert failed.returncode == 1
    assert f"the certificates cannot be used: {second.cert}: there is no certificate in it" in failed.stderr
    assert "generation 4 serves, and the former certificates stay" in failed.stderr
    assert serial(client) == changed
    save(tmp_path, *root.issue("localhost"), "second")
    settings.write_text("workers = 1\n")
    done(server, "reload")
    assert "reload: tls_cert has changed, which takes a restart" in server.log


# --- tickets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_of_one_worker_is_resumed_by_another(
    version: ssl.TLSVersion, root: Authority, tmp_path: Path, serve: Serve
) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files, workers=4)
    client = Client(server.port, version=version)
    first = client.ask()
    assert not first.resumed

    def come_back(_: int) -> bool:
        again = client.ask(session=first.session)
        assert again.resumed
        assert again.body["SSL_SESSION_RESUMED"] == "Resumed"
        return bool(again.body["pid"] != first.body["pid"])

    with ThreadPoolExecutor(8) as clients:  # one worker is not enough for all at once
        wait_until(lambda: any(clients.map(come_back, range(16))), "another worker")


def test_a_ticket_is_resumed_after_a_change_of_the_certificate(
    root: Authority, tmp_path: Path, serve: Serve
) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    server = serve_tls(serve, files)
    client = Client(server.port)
    ticket = client.ask().session
    save(tmp_path, *root.issue("localhost"))
    server.wait_log("the certificates were read again")
    assert client.ask(session=ticket).resumed


# --- without TLS ----------------------------------------------------------------------------------------


def test_clients_without_tls_are_redirected(root: Authority, tmp_path: Path, serve: Serve) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    challenges = tmp_path / "challenges"
    challenges.mkdir()
    (challenges / "token-1_A").write_text("token-1_A.thumbprint")
    (tmp_path / "secret").write_text("secret")
    (challenges / "link").symlink_to(tmp_path / "secret")
    place = tmp_path / "plain"
    server = serve_tls(serve, files, "--redirect-http", f"unix:{place}", "--acme-dir", str(challenges))

    def raw(request: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(place))
            sock.sendall(request.encode())
            return read_all(sock)

    def get(path: str, host: str = "Host: example.com:8080\r\n", method: str = "GET") -> bytes:
        return raw(f"{method} {path} HTTP/1.1\r\n{host}Content-Length: 0\r\nConnection: close\r\n\r\n")

    for method in ("GET", "POST"):
        response = get("/a%20b//c?d=e&f", method=method)
        assert response.startswith(b"HTTP/1.1 308 ")
        assert f"\r\nLocation: https://example.com:{server.port}/a%20b//c?d=e&f\r\n".encode() in response
    assert b"\r\nLocation: https://[::1]:" in get("/", "Host: [::1]\r\n")
    found = get("/.well-known/acme-challenge/token-1_A")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(b"token-1_A.thumbprint")
    for missing in ("link", "nothing", "..%2fsecret", "../secret", ""):
        assert get(f"/.well-known/acme-challenge/{missing}").startswith(b"HTTP/1.1 404 "), missing
    assert raw("GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    Client(server.port).ask()
    assert server.stop() == 0
    assert not place.exists()


@pytest.mark.parametrize("flags", [(), ("--proxy-protocol",)], ids=["the address", "all addresses"])
def test_a_redirect_expects_the_proxy_protocol_as_its_address_says(
    flags: tuple[str, ...], root: Authority, tmp_path: Path, serve: Serve
) -> None:
    expected, other = tmp_path / "expected", tmp_path / "other"
    files = save(tmp_path, *root.issue("localhost"))
    redirects = ("--redirect-http", f"unix:{expected},proxy", "--redirect-http", f"unix:{other},proxy=off")
    serve_tls(serve, files, *redirects, *flags)

    def raw(place: Path, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(place))
            sock.sendall(data)
            return read_all(sock)

    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert raw(expected, V1 + request).startswith(b"HTTP/1.1 308 ")
    assert raw(expected, request) == b""
    assert raw(other, request).startswith(b"HTTP/1.1 308 ")
    assert raw(other, V1 + request).startswith(b"HTTP/1.1 400 ")


# --- faults at the start --------------------------------------------------------------------------------


def start_refused(*flags: str) -> str:
    done = run_prefork("serve", str(WSGI), "--bind", "127.0.0.1:0", "--workers", "1", *flags)
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_key_that_does_not_fit(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    other = save(tmp_path, *root.issue("localhost"), "other")
    line = start_refused("--tls-cert", str(files.cert), "--tls-key", str(other.key))
    assert f"{files.cert}: the key in {other.key} does not fit the certificate" in line


def test_a_key_that_cannot_be_read(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    files.key.unlink()
    assert f"cannot read {files.key}: No such file or directory" in start_refused(*files.flags)
