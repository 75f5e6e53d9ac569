"""What goes wrong on a port that speaks TLS: it costs the one connection, and a line at most."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.messages import Message

from support import tls
from support.apps import APPS
from support.pool import is_silent
from support.responses import only, read_all
from support.server import Server, running
from support.tls.peer import ALERT, CCS, CLOSE_NOTIFY, DATA, HANDSHAKE, Peer, record
from support.waiting import wait_until
from support.wire import Wire

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
MANY = 300
FAR_TOO_MANY = 5000


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """One worker, which no client may harm."""
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--header-timeout", "0.5", *tls.OPTIONS)
    with running(str(APPS / "wire_app.py"), *options) as server:
        yield Wire(server)


@pytest.fixture
def sock(wire: Wire) -> Iterator[socket.socket]:
    """A connection without a handshake."""
    with socket.create_connection((wire.server.host, wire.server.port), timeout=20) as sock:
        yield sock


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# --- before the handshake is complete ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [GET, b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 20, b"\x80\x2e\x01"]
)
def test_plain_bytes_are_told_that_the_port_speaks_tls(wire: Wire, sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    response = only(read_all(sock))
    assert (response.status, response.headers["connection"]) == (400, "close")
    assert response.body == b"This port speaks TLS: the address must begin with https://"
    assert wire.seen() == []


@pytest.mark.parametrize("cut", [1, 3, 5, 6, 100, -1])
def test_a_part_of_a_client_hello_is_given_no_longer_than_a_head(
    wire: Wire, sock: socket.socket, cut: int
) -> None:
    sock.sendall(client_hello()[:cut])
    assert read_all(sock) == b""
    assert wire.seen() == []


def test_a_message_that_announces_more_than_comes_is_given_no_longer_either(
    wire: Wire, sock: socket.socket
) -> None:
    sock.sendall(record(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(100)))
    assert read_all(sock) in (b"", record(ALERT, b"\2\x32"))
    assert wire.seen() == []


def test_a_client_hello_may_come_byte_by_byte(wire: Wire, sock: socket.socket) -> None:
    for byte in client_hello():
        sock.sendall(bytes([byte]))
    assert sock.recv(1) == bytes([HANDSHAKE])
    assert wire.seen() == []


def test_a_client_hello_may_come_in_records_of_one_byte(wire: Wire, sock: socket.socket) -> None:
    """RFC 8446, section 5.1: messages may be cut anywhere."""
    sock.sendall(b"".join(record(HANDSHAKE, bytes([byte])) for byte in client_hello()[5:]))
    assert sock.recv(1) == bytes([HANDSHAKE])
    assert wire.seen() == []


@pytest.mark.parametrize(
    "data",
    [
        record(HANDSHAKE, b""),
        record(HANDSHAKE, b"\x01\0\0\0"),
        record(HANDSHAKE, b"\x02\0\0\x02\x03\x03"),
        bytes([HANDSHAKE, 3, 1, 0xFF, 0xFF]),
        client_hello()[:5] + bytes(len(client_hello()) - 5),
        client_hello() + client_hello(),
        client_hello() + record(DATA, b"x" * 100),
        client_hello() + record(ALERT, bytes(20_000)),
    ],
    ids=["empty", "no hello", "ServerHello", "huge", "zeros", "twice", "data", "large alert"],
)
def test_garbage_in_a_handshake_ends_in_an_alert(wire: Wire, sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    raw = read_all(sock)
    if raw[0] == ALERT:
        assert raw[:6] == record(ALERT, b"\2?")[:-1]
        assert len(raw) == 7
    else:
        assert raw[-24:-19] == record(DATA, bytes(19))[:5]  # it is sealed after a ServerHello
    assert wire.seen() == []


def test_a_client_that_leaves_in_a_handshake_is_forgotten(wire: Wire) -> None:
    for cut in (1, 6, 200, None):
        with socket.create_connection((wire.server.host, wire.server.port)) as sock:
            sock.sendall(client_hello()[:cut])
    wire.server.wait_idle()
    assert wire.seen() == []


def test_many_half_handshakes_cost_a_descriptor_each_and_others_are_served(wire: Wire) -> None:
    hello = client_hello()
    socks = []
    for number in range(MANY):
        sock = socket.create_connection((wire.server.host, wire.server.port))
        sock.sendall(hello if number % 2 else hello[:-1])
        socks.append(sock)
    assert wire.server.get("/x") == b""
    wire.server.wait_idle()  # the time for a head ends them
    for sock in socks:
        sock.close()
    assert wire.seen() == ["GET /x"]


def test_five_thousand_half_handshakes_do_not_keep_others_out() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < FAR_TOO_MANY + 500:
        pytest.skip(f"a process may have {hard} descriptors only")
    hello = client_hello()
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--header-timeout", "300", *tls.OPTIONS)
    with contextlib.ExitStack() as stack:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FAR_TOO_MANY + 500, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        server = stack.enter_context(running(str(APPS / "wire_app.py"), *options))
        for number in range(FAR_TOO_MANY):
            sock = stack.enter_context(socket.create_connection((server.host, server.port)))
            sock.sendall(hello if number % 2 else hello[:-1])
        wait_until(lambda: server.status()["totals"]["connections"] >= FAR_TOO_MANY, "all to be accepted")
        (worker,) = server.workers()
        print(f"{memory_of(worker) / FAR_TOO_MANY / 1024:.1f} KiB for each, with the process")
        assert server.get("/x") == b""
        assert server.status()["totals"]["connections"] >= FAR_TOO_MANY
        assert "ERROR" not in server.log


def memory_of(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# --- what the log says -----------------------------------------------------------------------------------


def a_line(wire: Wire, reason: str) -> None:
    """There is one line, and it says this."""
    line = wire.server.wait_log(reason)
    assert f"INFO prefork.server: client 127.0.0.1: {reason}" in line
    assert wire.seen() == []
    assert len(wire.server.err) == 1


def test_half_a_handshake_is_one_line(wire: Wire, sock: socket.socket) -> None:
    wire.server.forget_output()
    sock.sendall(client_hello()[:100])
    a_line(wire, "the TLS handshake was not complete in time")


@pytest.mark.parametrize("cut", [1, 100, None])
def test_a_client_that_leaves_in_a_handshake_is_one_line(
    wire: Wire, sock: socket.socket, cut: int | None
) -> None:
    wire.server.forget_output()
    sock.sendall(client_hello()[:cut])
    sock.shutdown(socket.SHUT_WR)
    a_line(wire, "the client left in the middle of the TLS handshake")


def test_a_client_that_only_connects_is_none(wire: Wire, sock: socket.socket) -> None:
    wire.server.forget_output()
    assert sock.recv(1) == b""
    wire.server.wait_idle()
    assert wire.server.err == []


def test_plain_bytes_are_one_line(wire: Wire, sock: socket.socket) -> None:
    wire.server.forget_output()
    sock.sendall(GET)
    a_line(wire, "400 it does not speak TLS, as this port does")


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_a_record_that_is_not_authentic_is_one_line(wire: Wire, version: ssl.TLSVersion) -> None:
    wire.server.forget_output()
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    with tls.wrap(plain, version) as client:
        client.send_sealed(record(DATA, b"x" * 50))
        a_line(wire, "a record of TLS was changed on its way, or breaks the protocol")


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
@pytest.mark.parametrize("cut", [1, 5, 20, -1])
def test_a_record_that_is_cut_off_is_one_line(wire: Wire, version: ssl.TLSVersion, cut: int) -> None:
    wire.server.forget_output()
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    with tls.wrap(plain, version) as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert wire.seen() == ["GET /x"]
        client.send_sealed(client.sealed(GET)[:cut])
        socket.socket.shutdown(client, socket.SHUT_WR)  # without close_notify
        a_line(wire, "the client left in the middle of a record of TLS")


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_an_end_between_records_is_none(wire: Wire, version: ssl.TLSVersion) -> None:
    wire.server.forget_output()
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    with tls.wrap(plain, version) as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        socket.socket.shutdown(client, socket.SHUT_WR)
        assert client.recv(1) == b""
    wire.server.wait_idle()
    assert wire.seen() == ["GET /x"]
    assert wire.server.err == []


def test_an_alert_is_no_fault_of_a_record(wire: Wire) -> None:
    wire.server.forget_output()
    with connect_tls12(wire) as client:
        send(client, Message(ALERT, bytearray(b"\2\x5a")))  # fatal: user_canceled
        wire.server.wait_idle()
        assert wire.server.err == []


def test_a_renegotiation_is_refused_in_one_line_and_the_connection_goes_on(wire: Wire) -> None:
    wire.server.forget_output()
    with connect_tls12(wire) as client:
        send(client, Message(HANDSHAKE, bytearray(client_hello()[5:])))
        client.write(GET)
        wait_until(lambda: wire.seen() == ["GET /x"], "the request to be served")
        client.sock.shutdown(socket.SHUT_WR)
        a_line(wire, "it asked to renegotiate TLS, which was refused")


@contextlib.contextmanager
def connect_tls12(wire: Wire) -> Iterator[Any]:
    """A client that can send any message."""
    with socket.create_connection((wire.server.host, wire.server.port), timeout=20) as sock:
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 3)
        client: Any = TLSConnection(sock)
        client.handshakeClientCert(settings=settings, serverName="localhost")
        yield client


def send(client: Any, message: Message) -> None:
    for _ in client._sendMsg(message):
        pytest.fail("the socket is full")


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_an_older_version_is_refused(wire: Wire, version: str) -> None:
    wire.server.forget_output()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion[version]
    plain = socket.create_connection((wire.server.host, wire.server.port))
    with plain, pytest.raises(ssl.SSLError, match=r"(?i)alert (protocol version|handshake failure)"):
        old.wrap_socket(plain)
    a_line(wire, "the TLS handshake failed: the client offers no version of TLS that is served")


# --- after it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
@pytest.mark.parametrize("garbage", [GET, b"\0" * 100, record(DATA, b"x" * 50), record(CCS, b"\x01")])
def test_garbage_after_a_handshake_ends_in_an_alert(
    wire: Wire, version: ssl.TLSVersion, garbage: bytes
) -> None:
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    with tls.wrap(plain, version) as client:
        client.send_sealed(garbage)
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            client.recv(1)
    assert wire.seen() == []


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_a_request_in_the_flight_of_the_handshake_is_served(wire: Wire, version: ssl.TLSVersion) -> None:
    """As most clients send it: Finished and the first request in one packet."""
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.context(version).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with plain:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        client.write(GET)
        plain.sendall(outgoing.read())
        found = b""
        while b"\r\n\r\n" not in found:
            incoming.write(plain.recv(65536))
            try:
                found += client.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert found.startswith(b"HTTP/1.1 200 ")
    assert wire.seen() == ["GET /x"]


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_a_client_that_half_closes_gets_its_response_and_close_notify(
    wire: Wire, version: ssl.TLSVersion
) -> None:
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    with tls.wrap(plain, version) as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        assert only(read_all(client)).status == 200  # an end without close_notify raises
    assert wire.seen() == ["GET /x"]


@pytest.mark.parametrize("how", ["close_notify", "FIN"])
def test_a_body_that_is_truncated_reaches_no_handler(wire: Wire, how: str) -> None:
    with Peer(wire.server) as peer:
        peer.send(peer.seal(DATA, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"))
        if how == "close_notify":
            peer.send(peer.seal(ALERT, CLOSE_NOTIFY))
        peer.sock.shutdown(socket.SHUT_WR)
        received = peer.read_all()
        assert [response.status for response in received.responses] in ([], [400])
    assert wire.seen() == []


def test_a_record_that_is_truncated_is_no_request(wire: Wire) -> None:
    with Peer(wire.server) as peer:
        peer.send(peer.seal(DATA, GET)[:-1])
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.read_all().data == b""
    assert wire.seen() == []


def test_a_whole_request_before_an_end_without_close_notify_is_served(wire: Wire) -> None:
    """Its length is authentic: HTTP itself says where it ends."""
    with Peer(wire.server) as peer:
        peer.send(peer.seal(DATA, GET))
        peer.sock.shutdown(socket.SHUT_WR)
        received = peer.read_all()
    assert [response.status for response in received.responses] == [200]
    assert received.alerts == [CLOSE_NOTIFY]
    assert wire.seen() == ["GET /x"]


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_a_client_that_resets_costs_nothing(wire: Wire, version: ssl.TLSVersion) -> None:
    plain = socket.create_connection((wire.server.host, wire.server.port), timeout=20)
    client = tls.wrap(plain, version)
    client.sendall(GET[:10])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    wire.server.wait_idle()
    assert wire.seen() == []


def renegotiate(server: Server) -> bytes:
    """Sends a ClientHello over a connection of TLS 1.2. Returns what comes back."""
    from tlslite.api import HandshakeSettings, TLSConnection

    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 3)
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        client = TLSConnection(sock)
        client.handshakeClientCert(settings=settings, serverName="localhost")
        sealed = client._recordLayer._encryptThenSeal(bytearray(client_hello()[5:]), HANDSHAKE)
        sock.sendall(record(HANDSHAKE, bytes(sealed)))
        header = sock.recv(5, socket.MSG_WAITALL)
        size = int.from_bytes(header[3:])
        if header[0] == ALERT:
            return bytes(client._recordLayer._decryptAndUnseal(_Header(size), bytearray(sock.recv(size))))
        return header


class _Header:
    type = ALERT

    def __init__(self, length: int) -> None:
        self.length = length


def test_a_renegotiation_of_tls_1_2_is_refused(wire: Wire) -> None:
    """Nothing of the client's makes the server compute a second handshake on a connection."""
    assert renegotiate(wire.server) in (b"\x01\x64", b"\x02\x0a", b"\x02\x64")
    assert wire.seen() == []


def test_an_idle_connection_is_ended_by_close_notify() -> None:
    with running(
        str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", "--keep-alive-timeout", "0.2", *tls.OPTIONS
    ) as server:
        with server.connect() as sock:
            sock.sendall(GET)
            assert not is_silent(sock, 5)
            assert only(read_all(sock)).status == 200
        wait_until(lambda: server.log == "", "no word about it")
