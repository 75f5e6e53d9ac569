"""WebSocket clients and applications that do wrong: each has its close code and its line in the log."""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from support import websocket
from support.apps import WEBSOCKET_APP
from support.leaving import reset
from support.server import Serve, Server, running
from support.waiting import DEADLINE_S, wait_until
from support.websocket import BINARY, CLOSE, LAST, PING, TEXT, RawSocket, frame

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(str(WEBSOCKET_APP), "--bind", "127.0.0.1:0", "--workers", "1") as server:
        yield server


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Sees to it that the worker that was there before a test is there after it, and idle."""
    workers = server.workers()
    yield
    server.wait_idle()
    assert server.workers() == workers


lives_on = pytest.mark.usefixtures("unharmed")


def new_lines(server: Server, text: str, before: int) -> list[str]:
    wait_until(lambda: any(text in line for line in server.err[before:]), repr(text))
    return [line for line in server.err[before:] if "client" in line or "ERROR" in line]


BREACHES = {
    "bad UTF-8": (frame(TEXT, b"\xff"), 1007),
    "bad UTF-8 in a fragment": (frame(TEXT, b"a\xff", first=0), 1007),
    "reserved opcode": (frame(3), 1002),
    "reserved control opcode": (frame(11), 1002),
    "reserved bit": (frame(TEXT, b"a", first=LAST | 0x20), 1002),
    "compression that was not agreed on": (frame(TEXT, b"a", first=LAST | 0x40), 1002),
    "no mask": (b"\x81\x01a", 1002),
    "1 GB announced": (b"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00" + b"mask", 1009),
    "fragments over the limit": ((frame(BINARY, b"a" * 9 * MIB, first=0) + frame(0, b"a" * 9 * MIB)), 1009),
    "long control frame": (frame(PING, b"a" * 126), 1002),
    "control frame in fragments": (frame(PING, first=0), 1002),
    "continuation of nothing": (frame(0, b"a"), 1002),
    "message inside of a message": (frame(TEXT, b"a", first=0) + frame(TEXT, b"b"), 1002),
    "close code that may not be sent": (frame(CLOSE, b"\x03\xed"), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "close reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
}


@lives_on
@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_closed_with_its_code(server: Server, breach: str) -> None:
    said, code = BREACHES[breach]
    before = len(server.err)
    with RawSocket(server) as client:
        client.send(frame(TEXT, b"first"))
        assert client.receive().payload == b"first"
        client.send(said + frame(TEXT, b"not read"))
        closing = client.receive()
        assert closing.first == LAST | CLOSE
        assert closing.code == code
        assert client.is_over()
    found = new_lines(server, f"ended {code}", before)
    assert len(found) == 1
    assert f"WebSocket closed with {code}: " in found[0]


@lives_on
def test_a_bomb_is_closed_before_it_is_inflated(server: Server) -> None:
    packer = zlib.compressobj(wbits=-12)
    part = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = part * 32  # 512 MiB: each part stands by itself after a full flush
    memory, before = int(server.get("/")), len(server.err)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    with RawSocket(server, fields=offer) as client:
        client.send(frame(BINARY, bomb[:-4], first=LAST | 0x40))
        assert client.receive().code == 1009
    assert new_lines(server, "closed with 1009", before)
    assert int(server.get("/")) < memory + 64 * MIB


@lives_on
@pytest.mark.parametrize("breach", ["bad UTF-8", "reserved opcode"])
def test_messages_before_a_breach_in_one_read_get_their_responses(server: Server, breach: str) -> None:
    said, code = BREACHES[breach]
    with RawSocket(server) as client:
        client.send(frame(TEXT, b"one") + frame(TEXT, b"two") + said + frame(TEXT, b"not read"))
        assert [client.receive().payload for _ in range(2)] == [b"one", b"two"]
        assert client.receive().code == code
        client.send(frame(CLOSE, code.to_bytes(2, "big")))
        assert client.is_over()


@lives_on
def test_a_breach_does_not_wait_for_an_application_that_does_not_read(server: Server) -> None:
    with RawSocket(server, "/sleep") as client:
        client.send(frame(BINARY, b"x") + frame(3))
        assert client.receive().code == 1002
    server.get("/go")
    server.wait_log("read 1 messages of 1 bytes, then 1002")


# --- peers that vanish -----------------------------------------------------------------------------------


@lives_on
@pytest.mark.parametrize(
    ("leave", "why"),
    [
        (reset, "the client reset the connection"),
        (socket.socket.close, "the client left without a close frame"),
    ],
)
def test_a_peer_that_vanishes_is_1006(
    server: Server, leave: Callable[[socket.socket], None], why: str
) -> None:
    before = len(server.err)
    with RawSocket(server) as client:
        leave(client.sock)
    found = new_lines(server, "ended 1006", before)
    wait_until(lambda: any(why in line for line in server.err[before:]), why)
    assert len(found) <= 1


@lives_on
def test_sending_to_a_peer_that_left_is_an_oserror(server: Server) -> None:
    with RawSocket(server, "/talk_on"):
        pass
    server.wait_log("send: the WebSocket is closed")


def test_a_silent_peer_is_closed_and_one_that_responds_is_not(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1", "--ws-ping-interval", "0.1", "--ws-ping-timeout", "0.5")
    begin = time.monotonic()
    with RawSocket(server) as silent, RawSocket(server) as lively:
        assert silent.receive().first == LAST | PING
        pings = 0
        while time.monotonic() < begin + 1.2:
            assert lively.receive().first == LAST | PING
            lively.send(frame(10))
            pings += 1
        assert pings >= 5
        assert silent.is_over() or silent.is_over()
    assert server.wait_log("the client did not respond to a ping in time")
    assert "ended 1006" in server.log


def test_without_an_interval_there_are_no_pings(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1", "--ws-ping-interval", "0", "--ws-ping-timeout", "0.1")
    with RawSocket(server) as client:
        client.sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.receive()


@lives_on
def test_a_client_that_leaves_before_it_is_accepted(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(websocket.OPENING.format(path="/hesitate", fields="").encode())
        wait_until(lambda: server.status()["workers"][0]["in_flight"], "the request")
    server.wait_log("then {'type': 'websocket.disconnect', 'code': 1006, 'reason': ''}")


# --- applications ----------------------------------------------------------------------------------------


@lives_on
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/fail_first", "ValueError: before it was accepted"),
        ("/forget", "returned without a response to WebSocket /forget"),
        ("/choose_another", "subprotocol 'not offered': expected one that the client offered"),
        (
            "/speak_first",
            "the application sent websocket.send, the server expects websocket.accept, websocket.close",
        ),
    ],
)
def test_a_failure_before_accept_is_500(server: Server, path: str, line: str) -> None:
    with RawSocket(server, path) as client:
        assert client.status == 500
    server.wait_log(line)


@lives_on
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/fail_later", "ValueError: after it was accepted"),
        ("/accept_twice", "the application sent websocket.accept, the server expects websocket.send or"),
        ("/close_wrongly", "ValueError: close code 1005: expected"),
        ("/send_nothing", "TypeError: bytes: expected bytes, got NoneType"),
    ],
)
def test_a_failure_after_accept_is_1011(server: Server, path: str, line: str) -> None:
    with RawSocket(server, path) as client:
        client.send(frame(TEXT, b"go"))
        assert client.receive().code == 1011
        client.send(frame(CLOSE, b"\x03\xf3"))
        assert client.is_over()
    server.wait_log(line)


# --- back-pressure ---------------------------------------------------------------------------------------


@lives_on
def test_a_slow_reader_costs_no_memory(server: Server) -> None:
    memory = int(server.get("/"))
    with RawSocket(server, "/pour") as client:
        for number in range(1000):
            if number % 100 == 0:
                assert int(server.get("/")) < memory + 16 * MIB
            assert client.receive().payload == number.to_bytes(4, "big") * 16384
        assert client.receive().code == 1000
        client.send(frame(CLOSE, b"\x03\xe8"))


def test_an_application_that_does_not_read_stops_its_client(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1")
    memory = int(server.get("/"))
    with RawSocket(server, "/sleep", SO_SNDBUF=65536) as client:
        server.wait_log("asleep")
        client.sock.settimeout(1.0)
        data, sent = b"", 0
        with contextlib.suppress(TimeoutError):
            while sent < 4_000:
                data = data or frame(BINARY, b"x" * 10_000)
                data = data[client.sock.send(data) :]
                sent += not data
        assert sent < 4_000
        assert int(server.get("/")) < memory + 16 * MIB
        client.sock.settimeout(DEADLINE_S)
        server.get("/go")
        client.send(data + frame(CLOSE, b"\x03\xe8"))
        sent += bool(data)
        server.wait_log(f"read {sent} messages of {sent * 10_000} bytes, then 1000")


def test_many_empty_messages_stop_a_client_too(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1")
    with RawSocket(server, "/sleep") as client:
        client.send(frame(BINARY) * 20_000 + frame(CLOSE, b"\x03\xe8"))
        server.get("/go")
        server.wait_log("read 20000 messages of 0 bytes, then 1000")


def test_messages_that_wait_unread_share_one_limit(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1")
    memory = int(server.get("/"))
    message = frame(BINARY, bytes(3 * MIB))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawSocket(server, "/sleep")) for _ in range(40)]
        left = dict.fromkeys(clients, message)
        for client in clients:
            client.sock.settimeout(0.05)

        def send() -> int:
            """Sends what the server takes."""
            sent = 0
            for client in left:
                with contextlib.suppress(TimeoutError):
                    while left[client]:
                        count = client.sock.send(left[client][: 256 << 10])
                        left[client] = left[client][count:]
                        sent += count
            return sent

        while send():
            pass
        assert any(left.values())
        assert int(server.get("/")) < memory + 64 * MIB
        server.get("/go")
        wait_until(lambda: send() == 0 and not any(left.values()), "all messages to be taken")
        for client in clients:
            client.send(frame(CLOSE, b"\x03\xe8"))
        wait_until(lambda: server.log.count("read 1 messages of 3145728 bytes") == 40, "all to be read")
        # All of them would be 120; what is freed goes back to the system when the allocator likes.
        assert int(server.get("/")) < memory + 80 * MIB


def test_a_client_whose_application_waits_is_read_although_others_are_not(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1")
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(RawSocket(server, "/sleep")) for _ in range(30)]
        for client in deaf:
            client.sock.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                client.sock.sendall(frame(BINARY, bytes(3 * MIB)))
        echo = stack.enter_context(RawSocket(server))
        for _ in range(3):
            echo.send(frame(BINARY, bytes(2 * MIB)))
            received = 0
            while received < 2 * MIB:
                received += len(echo.receive().payload)
