"""The record layer after the handshake, against a client that keeps to no rule (RFC 8446, 4.6.3, 5, 6).

Whatever comes, the worker lives on, no handler sees a byte that was not sealed, and the client gets the alert
that says what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import tls
from support.apps import APPS
from support.server import running
from support.tls.peer import (
    ALERT,
    BAD_RECORD_MAC,
    CCS,
    CLOSE_NOTIFY,
    DATA,
    DECODE_ERROR,
    FATAL,
    HANDSHAKE,
    ILLEGAL_PARAMETER,
    KEY_UPDATE,
    RECORD_OVERFLOW,
    UNEXPECTED_MESSAGE,
    UPDATE,
    UPDATE_BOTH,
    Peer,
    record,
)
from support.wire import Wire

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
NEVER = b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"
MOST = 1 << 14
"""The most that a record may hold."""
STORM = 33
"""One more record without data than may follow each other."""

OPTIONS = ("--workers", "1", "--max-body", "50000")


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with running(str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", *OPTIONS, *tls.OPTIONS) as server:
        yield Wire(server)


@pytest.fixture
def peer(wire: Wire) -> Iterator[Peer]:
    with Peer(wire.server) as peer:
        yield peer


def refuse(wire: Wire, peer: Peer, alert: int, *records: bytes) -> None:
    """These records end the connection with this alert, and no handler runs."""
    peer.send(*records)
    received = peer.read_all()
    assert received.alerts == [bytes([FATAL, alert])]
    assert received.others[-1][0] == ALERT
    assert received.data == b""
    assert wire.seen() == []


# --- what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 7, -17, -16, -1])
def test_a_record_that_was_changed_is_bad_record_mac(wire: Wire, peer: Peer, at: int) -> None:
    sealed = bytearray(peer.seal(DATA, GET))
    sealed[5 + at if at >= 0 else at] ^= 1
    refuse(wire, peer, BAD_RECORD_MAC, bytes(sealed), peer.seal(DATA, NEVER))


def test_a_header_that_was_changed_is_bad_record_mac(wire: Wire, peer: Peer) -> None:
    sealed = peer.seal(DATA, GET)
    refuse(wire, peer, BAD_RECORD_MAC, sealed[:1] + b"\x03\x04" + sealed[3:])


def test_a_record_that_comes_twice_is_bad_record_mac(wire: Wire, peer: Peer) -> None:
    half = peer.seal(DATA, GET[:10])
    refuse(wire, peer, BAD_RECORD_MAC, half, half)


def test_a_record_that_is_left_out_is_bad_record_mac(wire: Wire, peer: Peer) -> None:
    peer.seal(DATA, b"lost")
    refuse(wire, peer, BAD_RECORD_MAC, peer.seal(DATA, NEVER))


@pytest.mark.parametrize("length", [0, 1, 16])
def test_a_record_without_room_for_a_type_is_bad_record_mac(wire: Wire, peer: Peer, length: int) -> None:
    refuse(wire, peer, BAD_RECORD_MAC, record(DATA, bytes(length)))


@pytest.mark.parametrize("kind", [0, CCS, ALERT, HANDSHAKE, 24, 255])
def test_an_unprotected_record_is_an_unexpected_message(wire: Wire, peer: Peer, kind: int) -> None:
    refuse(wire, peer, UNEXPECTED_MESSAGE, record(kind, b"\x01"))


@pytest.mark.parametrize("kind", [1, CCS, 24, 255])
def test_an_unknown_content_type_is_an_unexpected_message(wire: Wire, peer: Peer, kind: int) -> None:
    refuse(wire, peer, UNEXPECTED_MESSAGE, peer.seal(kind, b"\x01"))


@pytest.mark.parametrize("size", [1, 100, MOST + 1])
def test_a_record_of_padding_alone_is_an_unexpected_message(wire: Wire, peer: Peer, size: int) -> None:
    refuse(wire, peer, UNEXPECTED_MESSAGE, peer.seal_inner(bytes(size)))


def test_more_than_a_record_may_hold_is_record_overflow(wire: Wire, peer: Peer) -> None:
    refuse(wire, peer, RECORD_OVERFLOW, peer.seal(DATA, bytes(MOST + 1)))


def test_more_padding_than_a_record_may_hold_is_record_overflow(wire: Wire, peer: Peer) -> None:
    refuse(wire, peer, RECORD_OVERFLOW, peer.seal(DATA, GET, padding=MOST))


def test_a_longer_record_than_may_be_is_refused_at_its_header(wire: Wire, peer: Peer) -> None:
    refuse(wire, peer, RECORD_OVERFLOW, record(DATA, bytes(MOST + 257))[:5])


@pytest.mark.parametrize("message", [1, 2, 4, 5, 8, 11, 13, 15, 20, 254])
def test_a_handshake_message_after_the_handshake_is_unexpected(wire: Wire, peer: Peer, message: int) -> None:
    """A ClientHello asks for a renegotiation, which TLS 1.3 has not."""
    content = bytes([message]) + b"\0\0\x20" + bytes(32)
    refuse(wire, peer, UNEXPECTED_MESSAGE, peer.seal(HANDSHAKE, content))


@pytest.mark.parametrize("kind", [HANDSHAKE, ALERT])
def test_an_empty_message_is_unexpected(wire: Wire, peer: Peer, kind: int) -> None:
    refuse(wire, peer, UNEXPECTED_MESSAGE, peer.seal(kind, b""))


@pytest.mark.parametrize(
    ("content", "alert"),
    [
        (b"\x18\0\0\0", DECODE_ERROR),
        (b"\x18\0\0\x02\0\0", DECODE_ERROR),
        (b"\x18\x01\0\x01\0", DECODE_ERROR),
        (b"\x18\0\0\x01\x02", ILLEGAL_PARAMETER),
        (b"\x18\0\0\x01\xff", ILLEGAL_PARAMETER),
        (UPDATE + UPDATE, UNEXPECTED_MESSAGE),
        (UPDATE + b"\x01", UNEXPECTED_MESSAGE),
    ],
)
def test_a_key_update_of_another_form_is_refused(wire: Wire, peer: Peer, content: bytes, alert: int) -> None:
    refuse(wire, peer, alert, peer.seal(HANDSHAKE, content))


@pytest.mark.parametrize("kind", [DATA, ALERT])
def test_nothing_may_stand_between_the_parts_of_a_message(wire: Wire, peer: Peer, kind: int) -> None:
    content = {DATA: NEVER, ALERT: CLOSE_NOTIFY}[kind]
    refuse(wire, peer, UNEXPECTED_MESSAGE, peer.seal(HANDSHAKE, UPDATE[:2]), peer.seal(kind, content))


@pytest.mark.parametrize("content", [b"\x01", b"\x01\0\0", bytes(40)])
def test_an_alert_of_another_form_is_decode_error(wire: Wire, peer: Peer, content: bytes) -> None:
    refuse(wire, peer, DECODE_ERROR, peer.seal(ALERT, content))


def test_data_with_the_old_key_after_an_update_is_bad_record_mac(wire: Wire, peer: Peer) -> None:
    refuse(wire, peer, BAD_RECORD_MAC, peer.seal(HANDSHAKE, UPDATE), peer.seal(DATA, NEVER))


@pytest.mark.parametrize("kind", ["data", "updates", "updates of both", "user_canceled"])
def test_a_storm_of_records_without_data_is_ended(wire: Wire, peer: Peer, kind: str) -> None:
    for _ in range(STORM):
        match kind:
            case "data":
                peer.send(peer.seal(DATA, b""))
            case "updates":
                peer.send(peer.update())
            case "updates of both":
                peer.send(peer.update(UPDATE_BOTH))
            case _:
                peer.send(peer.seal(ALERT, b"\x01\x5a"))
    assert peer.read_all().alerts == [bytes([FATAL, UNEXPECTED_MESSAGE])]
    assert wire.seen() == []


def test_a_fatal_alert_of_the_client_ends_the_connection_without_a_word(wire: Wire, peer: Peer) -> None:
    peer.send(peer.seal(ALERT, bytes([FATAL, UNEXPECTED_MESSAGE])), peer.seal(DATA, NEVER))
    assert peer.read_all().data == b""
    assert wire.seen() == []


def test_a_bad_record_behind_a_request_ends_the_connection_after_it(wire: Wire, peer: Peer) -> None:
    """The request was whole and authentic."""
    peer.send(peer.seal(DATA, GET))
    assert peer.next_record()
    peer.send(record(DATA, bytes(100)))
    assert peer.read_all().alerts == [bytes([FATAL, BAD_RECORD_MAC])]
    assert wire.seen() == ["GET /x"]


def test_a_bad_record_in_a_body_is_the_end_of_it(wire: Wire, peer: Peer) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    peer.send(peer.seal(DATA, head + b"12345"), record(DATA, bytes(100)))
    received = peer.read_all()
    assert received.alerts == [bytes([FATAL, BAD_RECORD_MAC])]
    assert wire.seen() == []


# --- what is strange, and right --------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", ["aes128gcm", "aes256gcm", "chacha20-poly1305"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 30])
def test_a_request_in_records_of_any_size_is_one(wire: Wire, cipher: str, size: int) -> None:
    with Peer(wire.server, cipher) as peer:
        pieces = [GET[at : at + size] for at in range(0, len(GET), size)]
        (response,) = peer.exchange(*(peer.seal(DATA, piece) for piece in pieces)).responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]


def test_a_record_in_pieces_of_one_byte_is_one(wire: Wire, peer: Peer) -> None:
    for byte in peer.seal(DATA, GET, padding=3):
        peer.send(bytes([byte]))
    (response,) = peer.exchange().responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]


@pytest.mark.parametrize("padding", [1, 255, MOST - len(GET)])
def test_padding_is_taken_off(wire: Wire, peer: Peer, padding: int) -> None:
    (response,) = peer.exchange(peer.seal(DATA, GET, padding)).responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]


def test_a_record_may_be_full(wire: Wire, peer: Peer) -> None:
    head = f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {2 * MOST}\r\n\r\n".encode()
    sealed = [peer.seal(DATA, content) for content in (head, bytes(MOST), bytes(MOST))]
    (response,) = peer.exchange(*sealed).responses
    assert response.status == 200
    assert wire.seen() == ["POST /x"]


def test_empty_data_and_updates_between_data_change_nothing(wire: Wire, peer: Peer) -> None:
    sealed = []
    for byte in GET:
        sealed += [peer.seal(DATA, b""), peer.update(), peer.seal(DATA, bytes([byte]))]
    (response,) = peer.exchange(*sealed).responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]


def test_an_update_may_come_in_pieces(wire: Wire, peer: Peer) -> None:
    pieces = [peer.seal(HANDSHAKE, UPDATE[at : at + 1]) for at in range(len(UPDATE))]
    peer.change_key()
    (response,) = peer.exchange(*pieces, peer.seal(DATA, GET)).responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]


def test_an_update_that_is_asked_for_comes_before_the_response(wire: Wire, peer: Peer) -> None:
    received = peer.exchange(peer.seal(DATA, GET[:10]), peer.update(UPDATE_BOTH), peer.seal(DATA, GET[10:]))
    assert received.others == [(HANDSHAKE, UPDATE), (ALERT, CLOSE_NOTIFY)]
    assert [response.status for response in received.responses] == [200]
    assert wire.seen() == ["GET /x"]
    assert UPDATE[0] == KEY_UPDATE


def test_what_follows_close_notify_is_not_read(wire: Wire, peer: Peer) -> None:
    peer.send(peer.seal(DATA, GET), peer.seal(ALERT, CLOSE_NOTIFY), peer.seal(DATA, NEVER), b"garbage")
    received = peer.read_all()
    assert received.alerts == [CLOSE_NOTIFY]
    assert [response.status for response in received.responses] == [200]
    assert wire.seen() == ["GET /x"]


def test_user_canceled_alone_changes_nothing(wire: Wire, peer: Peer) -> None:
    (response,) = peer.exchange(peer.seal(ALERT, b"\x01\x5a"), peer.seal(DATA, GET)).responses
    assert response.status == 200
    assert wire.seen() == ["GET /x"]
