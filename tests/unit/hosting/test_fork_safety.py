"""What must not be forked is named, with the module that holds it."""

from __future__ import annotations

import gc
import os
import select
import selectors
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from prefork.hosting import fork_safety
from prefork.hosting.fork_safety import Before, describe, look, opened_since, warn_of_unsafe
from support.waiting import DEADLINE_S

HELD: list[Any] = []


class Client:
    """Holds a socket as clients of databases do: in an object, in a pool."""

    pool: ClassVar[list[Client]] = []

    def __init__(self, sock: Any) -> None:
        self.sock = sock


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Before]:
    """What there is before the test opens anything. What it holds is closed."""
    monkeypatch.setattr(fork_safety, "LOOK_S", DEADLINE_S)  # a busy machine needs more
    yield look()
    for one in HELD:
        one.close()
    HELD.clear()
    Client.pool.clear()


def hold(one: Any) -> Any:
    HELD.append(one)
    return one


def named(caplog: pytest.LogCaptureFixture, before: Before) -> list[str]:
    caplog.clear()
    warn_of_unsafe(before)
    return [message.removeprefix("the mold has ").partition(";")[0] for message in caplog.messages]


def test_what_was_there_before_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert named(caplog, look()) == []


def test_what_is_the_processs_own_is_not_named(before: Before) -> None:
    first, second = hold(socket.socket()), hold(socket.socket())
    numbers = [one.fileno() for one in (first, second)]
    assert len(opened_since(before, numbers[:1])) == 1
    assert opened_since(before, numbers) == []


def test_a_connection_is_named_with_its_peer_and_holder(
    caplog: pytest.LogCaptureFixture, before: Before
) -> None:
    server = hold(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    Client.pool.append(Client(hold(socket.create_connection(("127.0.0.1", port)))))
    with server.accept()[0] as accepted:
        first, second = named(caplog, before)
        peer = accepted.getpeername()[1]
    things = f"a socket that listens at 127.0.0.1:{port}, a connection to 127.0.0.1:{port}"
    assert first == f"{things} of {__name__}.HELD"
    assert second == f"a connection to 127.0.0.1:{peer}"


def test_a_holder_is_found_through_objects_and_classes(
    caplog: pytest.LogCaptureFixture, before: Before
) -> None:
    ends = socket.socketpair()
    Client.pool.append(Client(ends[0]))
    assert named(caplog, before) == [
        f"one of a pair of sockets of {__name__}.Client",
        "one of a pair of sockets",
    ]
    for end in ends:
        end.close()


@pytest.mark.parametrize("name", ["socket", "\0prefork-abstract"])
def test_a_unix_socket_is_named(
    caplog: pytest.LogCaptureFixture, before: Before, tmp_path: Path, name: str
) -> None:
    address = name if name.startswith("\0") else str(tmp_path / name)
    server = hold(socket.socket(socket.AF_UNIX))
    server.bind(address)
    server.listen()
    hold(socket.socket(socket.AF_UNIX)).connect(address)
    shown = address.replace("\0", "@")
    assert named(caplog, before) == [
        f"a socket that listens at {shown}, a connection to {shown} of {__name__}.HELD"
    ]


def test_an_ipv6_address_has_brackets() -> None:
    assert fork_safety._address(("::1", 80, 0, 0)) == "[::1]:80"


def test_epoll_sets_and_the_like_are_named(caplog: pytest.LogCaptureFixture, before: Before) -> None:
    hold(selectors.EpollSelector())
    hold(select.epoll())
    fd = os.eventfd(0)
    assert named(caplog, before) == [f"an epoll set of {__name__}.HELD", "an eventfd"]
    os.close(fd)


def test_what_the_collector_does_not_know_has_a_holder(
    caplog: pytest.LogCaptureFixture, before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = hold(select.epoll())
    assert named(caplog, before) == [f"an epoll set of {__name__}.HELD"]
    monkeypatch.setattr(Client, "poll", poll, raising=False)
    HELD.clear()
    assert named(caplog, before) == [f"an epoll set of {__name__}.Client"]
    poll.close()


def test_no_step_of_the_search_takes_long(
    caplog: pytest.LogCaptureFixture, before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def get_referrers(*objects: object) -> list[object]:
        steps.append(len(objects))
        return gc.get_referrers(*objects)

    monkeypatch.setattr(fork_safety, "gc", SimpleNamespace(**vars(gc) | {"get_referrers": get_referrers}))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    Client.pool.extend(Client(sock) for _ in range(3 * fork_safety.AT_ONCE))
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    assert named(caplog, before) == [f"a socket that listens at {address} of {__name__}.Client"]
    sock.close()
    assert max(steps) == fork_safety.AT_ONCE


def test_what_is_dead_is_not_touched(before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[type] = []

    def get_referents(one: object) -> list[object]:
        asked.append(type(one))
        return gc.get_referents(one)

    monkeypatch.setattr(fork_safety, "gc", SimpleNamespace(**vars(gc) | {"get_referents": get_referents}))
    hold(select.epoll())
    warn_of_unsafe(before)
    assert dict in asked
    assert ModuleType not in asked


def test_files_are_named_if_processes_would_share_their_position(
    caplog: pytest.LogCaptureFixture, before: Before, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    for mode in ("w", "a", "r"):  # a log is appended to
        hold(path.open(mode))
    assert named(caplog, before) == [f"the file {path}, open for writing, of {__name__}.HELD"]


def test_a_database_in_a_file_is_named(
    caplog: pytest.LogCaptureFixture, before: Before, tmp_path: Path
) -> None:
    connection = hold(sqlite3.connect(tmp_path / "db.sqlite3"))
    connection.execute("create table one (two)")
    assert named(caplog, before) == [f"the file {tmp_path}/db.sqlite3, open for writing,"]


def test_what_processes_may_share_is_not_named(caplog: pytest.LogCaptureFixture, before: Before) -> None:
    hold(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).connect(("127.0.0.1", 9))  # statsd, syslog
    for fd in (os.open("/dev/null", os.O_RDWR), os.memfd_create("shared"), *os.pipe()):
        hold(os.fdopen(fd, "rb"))
    assert named(caplog, before) == []


@pytest.mark.parametrize("path", ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dri/renderD128", "/dev/kfd"])
def test_a_gpu_is_named(path: str) -> None:
    assert describe(0, path).startswith("a GPU (/dev/")
    assert describe(0, "/dev/urandom") == ""


def test_threads_are_named_if_they_are_new(caplog: pytest.LogCaptureFixture) -> None:
    ends = threading.Event()
    threads = [threading.Thread(target=ends.wait, name=name) for name in ("former", "newer")]
    threads[0].start()
    before = look()
    threads[1].start()
    found = named(caplog, before)
    warn_of_unsafe(before, threads=False)
    count = len(caplog.records)
    ends.set()
    for thread in threads:
        thread.join()
    assert found == ["thread 'newer' of threading"]
    assert count == 1


def test_objects_that_cannot_tell_their_descriptor_do_no_harm(
    caplog: pytest.LogCaptureFixture, before: Before
) -> None:
    class Odd:
        def fileno(self) -> int:
            raise LookupError

        def close(self) -> None: ...

    class Text(Odd):
        def fileno(self) -> Any:
            return "text"

    for one in (Odd(), Text(), selectors.EpollSelector()):
        hold(one)
    assert named(caplog, before) == [f"an epoll set of {__name__}.HELD"]


def test_many_things_are_a_few_lines(caplog: pytest.LogCaptureFixture, before: Before) -> None:
    pairs = [socket.socketpair() for _ in range(8)]
    owners = [type(f"Owner{number}", (), {"pair": pair}) for number, pair in enumerate(pairs)]
    for number, owner in enumerate(owners):
        globals()[f"OWNER_{number}"] = owner
    warn_of_unsafe(before)
    for number, pair in enumerate(pairs):
        del globals()[f"OWNER_{number}"]
        for end in pair:
            end.close()
    assert len(caplog.messages) <= fork_safety.MAX_LINES + 1
    assert any(f"of {__name__}.OWNER_0;" in message for message in caplog.messages)
