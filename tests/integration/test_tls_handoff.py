"""A connection of TLS 1.3 goes from worker to worker as a plain one does, and goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time

import pytest

from support import tls
from support.load import Client
from support.pool import PID, MakePool, Pool, is_silent, pid_serving, read_bodies
from support.processes import alive, state
from support.responses import read_all, read_response
from support.tls.peer import ALERT, CLOSE_NOTIFY, DATA, HANDSHAKE, UPDATE, UPDATE_BOTH, Peer
from support.waiting import wait_until

FIVE = {"start_servers": 5, "min_spare_servers": 5, "max_spare_servers": 5, "max_clients": 20}


@pytest.fixture
def two(pool: MakePool) -> Pool:
    server = pool("--workers", "2", *tls.OPTIONS)
    server.wait_workers(2)
    return server


def connect_with(server: Pool, version: ssl.TLSVersion) -> socket.socket:
    return tls.wrap(socket.create_connection((server.host, server.port), timeout=20), version)


def connect_12(server: Pool, pid: int) -> socket.socket:
    """A connection of TLS 1.2 to a worker."""
    while True:
        sock = connect_with(server, tls.V12)
        if pid_serving(sock) == pid:
            return sock
        sock.close()


def test_many_move_and_move_again(two: Pool) -> None:
    """The record numbers and keys go with it each time, in both directions."""
    stuck, socks = two.connect_to_one_worker(12)
    for turn in range(4):
        two.block_worker(socks[turn])
        others = socks[turn + 1 :]
        for sock in others:
            sock.sendall(PID * 3)
        assert {int(body) for sock in others for body in read_bodies(sock, 3)}.isdisjoint({stuck})
        two.release()
        assert int(read_response(socks[turn])[2]) == stuck
        (two.directory / "release").unlink()
        stuck = pid_serving(socks[turn + 1])


def test_a_large_response_and_upload_follow_a_hand_off(two: Pool) -> None:
    _, (first, second) = two.connect_to_one_worker()
    two.block_worker(first)
    pid_serving(second)
    second.sendall(b"GET /do?'x'*1_000_000 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_response(second)[2] == b'{"value": "' + b"x" * 1_000_000 + b'"}'
    second.sendall(b"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + bytes(500_000))
    assert read_response(second)[2] == b"one"


def test_idle_connections_outlive_their_worker(pool: MakePool) -> None:
    server = pool("--workers", "1", *tls.OPTIONS)
    old, socks = server.connect_to_one_worker(5)
    server.signal(signal.SIGHUP)
    wait_until(lambda: not alive(old), "the old one to go")
    assert old not in {pid_serving(sock) for sock in socks}


# --- a handshake behind a stuck handler --------------------------------------------------------------------


class Slow:
    """A client that does one step of its handshake at a time, and sends its request with the last one."""

    def __init__(self, server: Pool, version: ssl.TLSVersion = tls.V13) -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=20)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.context(version).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def step(self) -> bool:
        """Whether the handshake is complete for the client."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def send(self) -> None:
        self.sock.sendall(self.outgoing.read())

    def receive(self) -> None:
        self.incoming.write(self.sock.recv(65536))

    def shake_hands(self) -> None:
        while not self.step():
            self.send()
            self.receive()

    def read_pid(self) -> int:
        found = b""
        while b"\r\n\r\n" not in found:
            self.receive()
            try:
                found += self.tls.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert found.startswith(b"HTTP/1.1 200")
        return int(found.rpartition(b"\r\n")[2])


def handshakes_behind(server: Pool, count: int, steps: int) -> tuple[int, socket.socket, list[Slow]]:
    """A worker, a connection to block it with, and clients that have begun to shake hands there: they have
    sent one byte, or received the server's first flight.
    """
    _, (first,) = server.connect_to_one_worker(1)
    # Its request may have brought a second worker. One of the two leaves; the other has the connection.
    wait_until(lambda: len(set(server.workers())) == 1, "a single worker")
    (alone,) = set(server.workers())
    clients = [Slow(server) for _ in range(count)]
    for client in clients:
        assert not client.step()
        if steps:
            client.send()
            client.receive()
        else:
            client.sock.sendall(client.outgoing.read(1))
    wait_until(lambda: server.worker_of(alone)["connections"] == count + 1, "all to be accepted")
    return alone, first, clients


@pytest.mark.parametrize("steps", [0, 1], ids=["ClientHello", "Finished"])
def test_a_handshake_goes_on_behind_a_stuck_handler_and_a_spare_serves_its_request(
    pool: MakePool, steps: int
) -> None:
    server = pool("--start", "1", "--min-spare", "1", "--max-spare", "1", "--max-clients", "4", *tls.OPTIONS)
    server.wait_workers(1)
    stuck, first, clients = handshakes_behind(server, 3, steps)
    server.block_worker(first)
    server.wait_spares(1)
    began = time.monotonic()
    for client in clients:
        client.send()
        client.shake_hands()
        client.tls.write(PID)
        client.send()  # Finished and the request in one packet
    assert stuck not in {client.read_pid() for client in clients}
    print(f"served after {(time.monotonic() - began) * 1000:.1f} ms")
    assert is_silent(first, 0.0)
    server.release()
    assert int(read_response(first)[2]) == stuck
    for client in clients:
        client.sock.close()


def test_a_handshake_behind_a_stuck_handler_may_come_byte_by_byte(pool: MakePool) -> None:
    server = pool("--start", "1", "--min-spare", "1", "--max-spare", "1", "--max-clients", "4", *tls.OPTIONS)
    server.wait_workers(1)
    stuck, first, (client,) = handshakes_behind(server, 1, 0)
    server.block_worker(first)
    for byte in client.outgoing.read():
        client.sock.sendall(bytes([byte]))
    client.receive()
    client.shake_hands()
    for byte in client.outgoing.read():
        client.sock.sendall(bytes([byte]))
    client.tls.write(PID)
    client.send()
    assert client.read_pid() != stuck
    server.release()
    client.sock.close()


def test_a_bad_handshake_behind_a_stuck_handler_is_refused_there(pool: MakePool) -> None:
    server = pool("--workers", "2", *tls.OPTIONS)
    server.wait_workers(2)
    stuck, (first,) = server.connect_to_one_worker(1)
    server.block_worker(first)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x02\0\0\x01\x01"):
        with socket.create_connection((server.host, server.port), timeout=20) as sock:
            sock.sendall(data)
            assert read_all(sock)[:1] in (b"H", b"\x15")
    server.release()
    assert int(read_response(first)[2]) == stuck


# --- TLS 1.2 ---------------------------------------------------------------------------------------------


def test_tls_1_2_is_told_that_its_worker_leaves(pool: MakePool) -> None:
    """Its record layer stays in its process. So the last response says that the connection ends."""
    server = pool("--workers", "1", *tls.OPTIONS)
    with connect_with(server, tls.V12) as sock:
        old = pid_serving(sock)
        sock.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.totals["active"] == 1, "it is held")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.totals["draining"] == 1, "it drains")
        server.release()
        status, fields, body = read_response(sock)
        assert (status, int(body), fields["connection"]) == (200, old, "close")
        assert sock.recv(1) == b""
    assert server.totals["handed_off"] == 0


class Client12(Client):
    """A client of TLS 1.2."""

    def run(self) -> None:
        while not self._stopped.is_set():
            self.opened += 1
            with tls.wrap(
                socket.create_connection((self.server.host, self.server.port), timeout=20), tls.V12
            ) as sock:
                self._send_requests(sock)


def test_hang_up_under_load_loses_no_request_of_tls_1_2(pool: MakePool) -> None:
    server = pool(*tls.OPTIONS, **FIVE)
    old = set(server.wait_workers(5))
    clients = [Client12(server, "/one") for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: sum(client.responses.total() for client in clients) > 100, "a load")
    server.signal(signal.SIGHUP)
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    for client in clients:
        client.stop()
    for client in clients:
        client.join(20)
    assert [loss for client in clients for loss in client.lost] == []


def test_tls_1_2_waits_behind_a_stuck_handler_and_is_served(two: Pool) -> None:
    stuck, (first,) = two.connect_to_one_worker(1)
    with connect_12(two, stuck) as second:
        two.block_worker(first)
        second.sendall(PID)
        assert is_silent(second)
        two.release()
        assert int(read_response(second)[2]) == stuck


# --- the guard's 504 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [tls.V13, tls.V12])
def test_a_stuck_worker_responds_504_and_closes_as_tls_does(pool: MakePool, version: ssl.TLSVersion) -> None:
    server = pool("--workers", "1", *tls.OPTIONS, request_timeout=0.5)
    (stuck,) = server.wait_workers(1)
    with connect_with(server, version) as sock:
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields, body = read_response(sock)
        assert (status, fields["connection"]) == (504, "close")
        assert b"did not respond in time" in body
        assert read_all(sock) == b""  # close_notify, or this raises
    server.wait_log(f"worker {stuck} was stuck in GET /hold for")
    server.wait_workers(1)


def test_what_waits_when_the_guard_ends_a_worker_is_served_by_the_next(pool: MakePool) -> None:
    server = pool("--workers", "1", *tls.OPTIONS, request_timeout=0.5)
    server.wait_workers(1)
    stuck, (first, second) = server.connect_to_one_worker()
    first.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.status()["workers"][0]["in_flight"], "it to be stuck")
    second.sendall(PID)
    assert read_response(first)[0] == 504
    assert int(read_response(second)[2]) != stuck


# --- in the middle of something --------------------------------------------------------------------------


def stuck_with(server: Pool) -> tuple[int, socket.socket, Peer]:
    """A worker, a connection to block it with, and a peer of the same worker."""
    stuck, (first,) = server.connect_to_one_worker(1)
    while True:
        peer = Peer(server)
        peer.send(peer.seal(DATA, PID))
        if read_pid(peer) == stuck:
            return stuck, first, peer
        peer.sock.close()


def read_pid(peer: Peer) -> int:
    found = peer.next_record()
    assert found is not None
    assert found[0] == DATA
    assert found[1].startswith(b"HTTP/1.1 200")
    return int(found[1].rpartition(b"\r\n")[2])


@pytest.mark.parametrize("cut", [1, 5, 20, -1])
def test_half_a_record_that_was_read_moves(two: Pool, cut: int) -> None:
    stuck, first, peer = stuck_with(two)
    with peer:
        sealed = peer.seal(DATA, PID)
        peer.send(sealed[:cut])
        two.wait_read(stuck)
        two.block_worker(first)
        peer.send(sealed[cut:])
        assert read_pid(peer) != stuck
        two.release()


def test_half_a_head_and_half_a_large_record_move(two: Pool) -> None:
    stuck, first, peer = stuck_with(two)
    with peer:
        large = PID[:-2] + b"X: " + b"x" * 8000 + b"\r\n" + b"Y: y\r\n" * 60 + b"\r\n"
        begin, rest = peer.seal(DATA, large[:4]), peer.seal(DATA, large[4:], padding=7000)
        peer.send(begin, rest[:-1])
        two.wait_read(stuck)
        two.block_worker(first)
        peer.send(rest[-1:])
        assert read_pid(peer) != stuck
        peer.send(peer.seal(DATA, PID))
        assert read_pid(peer) != stuck
        two.release()


def test_half_a_record_that_comes_while_the_worker_is_stuck_moves(two: Pool) -> None:
    """It is still in the socket: the next worker reads it there."""
    stuck, first, peer = stuck_with(two)
    with peer:
        two.block_worker(first)
        sealed = peer.seal(DATA, PID)
        peer.send(sealed[:20])
        wait_until(lambda: two.totals["adopted"] == 1, "it has moved")
        peer.send(sealed[20:])
        assert read_pid(peer) != stuck
        two.release()


@pytest.mark.parametrize("update", [UPDATE, UPDATE_BOTH])
def test_an_update_before_a_hand_off_goes_with_it(two: Pool, update: bytes) -> None:
    stuck, first, peer = stuck_with(two)
    with peer:
        peer.send(peer.update(update), peer.seal(DATA, PID))
        if update == UPDATE_BOTH:
            assert peer.next_record() == (HANDSHAKE, UPDATE)
        assert read_pid(peer) == stuck
        two.block_worker(first)
        peer.send(peer.seal(DATA, PID))
        assert read_pid(peer) != stuck
        two.release()


@pytest.mark.parametrize("update", [UPDATE, UPDATE_BOTH])
def test_an_update_that_waits_for_a_stuck_worker_moves_unread(two: Pool, update: bytes) -> None:
    stuck, first, peer = stuck_with(two)
    with peer:
        two.block_worker(first)
        peer.send(peer.update(update), peer.seal(DATA, PID))
        if update == UPDATE_BOTH:
            assert peer.next_record() == (HANDSHAKE, UPDATE)
        assert read_pid(peer) != stuck
        two.release()


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize("in_record", [False, True], ids=["message", "message and record"])
def test_half_an_update_moves(two: Pool, cut: int, in_record: bool) -> None:
    """One of two records is read, or one of them and a part of the other."""
    stuck, first, peer = stuck_with(two)
    with peer:
        begin, rest = peer.seal(HANDSHAKE, UPDATE_BOTH[:cut]), peer.seal(HANDSHAKE, UPDATE_BOTH[cut:])
        peer.change_key()
        now = 9 if in_record else 0
        peer.send(begin, rest[:now])
        two.wait_read(stuck)
        two.block_worker(first)
        peer.send(rest[now:], peer.seal(DATA, PID))
        assert peer.next_record() == (HANDSHAKE, UPDATE)
        assert read_pid(peer) != stuck
        two.release()


def test_requests_that_were_read_move(two: Pool) -> None:
    """A worker reads more of a pipeline than it begins in one turn. Its next turn gets stuck, in a connection
    that cannot move.
    """
    stuck, (second,) = two.connect_to_one_worker(1)
    with connect_12(two, stuck) as first:
        request = b"GET /do?[__import__('time').sleep(0.0005),os.getpid()] HTTP/1.1\r\nHost: x\r\n\r\n"
        second.sendall(request * 600)
        first.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        served = [json.loads(body)["value"][1] for body in read_bodies(second, 600)]
        print(f"{served.count(stuck)} of 600 before the hand-off")
        assert is_silent(first, 0.0)
        assert served[-1] != stuck
        assert sorted(served, key=served.index) == served  # it has moved once
        two.release()


def test_half_a_record_outlives_the_worker_that_would_have_adopted_it(two: Pool) -> None:
    stuck, first, peer = stuck_with(two)
    (other,) = set(two.workers()) - {stuck}
    with peer:
        sealed = peer.seal(DATA, PID)
        peer.send(sealed[:20])
        two.wait_read(stuck)
        two.block_worker(first)
        os.kill(other, signal.SIGSTOP)
        wait_until(lambda: state(other) == "T", "it stands still")
        peer.send(sealed[20:])
        wait_until(lambda: two.totals["handed_off"] == 1, "it is in the queue")
        os.kill(other, signal.SIGKILL)
        assert read_pid(peer) not in (stuck, other)
        two.release()


def test_a_worker_that_is_killed_takes_only_what_it_had(two: Pool) -> None:
    stuck, (first, second) = two.connect_to_one_worker()
    two.block_worker(first)
    adopter = pid_serving(second)
    os.kill(adopter, signal.SIGKILL)
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):  # an end without close_notify is noticed
        second.recv(1)
    wait_until(lambda: not alive(adopter), "it to end")
    two.release()
    assert int(read_response(first)[2]) == stuck


def test_what_is_in_the_queue_outlives_the_worker_that_would_have_adopted_it(two: Pool) -> None:
    """The queue has the keys and the descriptor until another worker takes them."""
    stuck, (first, second) = two.connect_to_one_worker()
    (other,) = set(two.workers()) - {stuck}
    two.block_worker(first)
    os.kill(other, signal.SIGSTOP)
    wait_until(lambda: state(other) == "T", "it stands still")
    second.sendall(PID)
    wait_until(lambda: two.totals["handed_off"] == 1, "it is in the queue")
    os.kill(other, signal.SIGKILL)
    assert int(read_response(second)[2]) not in (stuck, other)
    two.release()
    assert int(read_response(first)[2]) == stuck


def test_close_notify_that_waits_for_a_stuck_worker_is_read_by_another(two: Pool) -> None:
    _, first, peer = stuck_with(two)
    with peer:
        two.block_worker(first)
        peer.send(peer.seal(ALERT, CLOSE_NOTIFY))
        assert peer.read_all() == (b"", [(ALERT, CLOSE_NOTIFY)])
        two.release()
