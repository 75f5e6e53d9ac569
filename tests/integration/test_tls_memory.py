"""Where the keys of a connection are in a worker's memory: in pages that no core dump has, and only while it
is open.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tls
from support.pool import MakePool, Pool, pid_serving
from support.server import Server
from support.waiting import wait_until


def mappings(pid: int) -> Iterator[tuple[range, set[str]]]:
    """The writable ones of a process, with their flags (proc(5), VmFlags)."""
    place = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
            place = range(int(found[1], 16), int(found[2], 16))
        elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            place = None
        elif line.startswith("VmFlags:") and place is not None:
            yield place, set(line.split()[1:])


def places_of(pid: int, secret: bytes) -> list[set[str]]:
    """The flags of each mapping that has these bytes, as often as it has them."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for place, flags in mappings(pid):
            try:
                memory.seek(place.start)
                data = memory.read(len(place))
            except (OSError, OverflowError):
                continue  # not memory
            found += [flags] * data.count(secret)
    return found


TRAFFIC = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")


def connect(server: Server, keys: Path) -> tuple[socket.socket, dict[str, bytes], int]:
    """A connection, its secrets, and the worker that has it."""
    keys.unlink(missing_ok=True)
    context = tls.context()
    context.keylog_filename = str(keys)
    sock = tls.TlsSocket(socket.create_connection((server.host, server.port), timeout=20), context)
    worker = pid_serving(sock)
    lines = [line.split() for line in keys.read_text().splitlines() if not line.startswith("#")]
    return sock, {name: bytes.fromhex(secret) for name, _, secret in lines}, worker


@pytest.fixture
def two(pool: MakePool) -> Pool:
    server = pool("--workers", "2", *tls.OPTIONS)
    for worker in server.wait_workers(2):
        try:
            with open(f"/proc/{worker}/mem", "rb"):
                pass
        except PermissionError:
            pytest.skip("this system lets no process look into another one's memory")
    return server


def test_the_secrets_of_an_open_connection_are_in_no_core_dump(two: Pool, tmp_path: Path) -> None:
    """In the worker that has adopted it. The one that shook hands has copies that rustls may have left."""
    stuck, (first,) = two.connect_to_one_worker(1)
    while True:
        sock, secrets, worker = connect(two, tmp_path / "keys")
        if worker == stuck:
            break
        sock.close()
    with sock:
        two.block_worker(first)
        adopter = pid_serving(sock)
        assert adopter != stuck
        for name in TRAFFIC:
            found = places_of(adopter, secrets[name])
            assert len(found) == 1, name
            assert "dd" in found[0], name
            assert [flags for flags in places_of(stuck, secrets[name]) if "dd" in flags] == [], name
    wait_until(lambda: two.worker_of(adopter)["connections"] == 0, "the end")
    for name in TRAFFIC:
        assert places_of(adopter, secrets[name]) == [], name
    two.release()


def test_nothing_of_a_connection_is_logged(pool: MakePool, tmp_path: Path) -> None:
    server = pool("--workers", "1", "--log-level", "debug", "--access-log", "-", *tls.OPTIONS)
    sock, secrets, _ = connect(server, tmp_path / "keys")
    sock.close()
    server.wait_idle()
    assert server.stop() == 0
    shown = server.log + "\n".join(server.out)
    assert "GET /pid" in shown
    for secret in secrets.values():
        assert secret.hex() not in shown.lower()
