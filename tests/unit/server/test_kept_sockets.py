"""The sockets that a service manager has kept: which of them is taken for which address."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork.server import environment, kept_sockets
from prefork.server.environment import Notified, notified
from prefork.server.kept_sockets import name_of

Keep = Callable[[socket.socket, str], None]
LOCAL = "127.0.0.1"


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keep]:
    """Has a socket passed as a kept one."""
    kept: list[environment.PassedSocket] = []
    monkeypatch.setattr(kept_sockets, "stored_sockets", lambda: kept)
    for name in ("_waiting", "_left"):
        monkeypatch.setattr(kept_sockets, name, [])
    monkeypatch.setattr(kept_sockets, "_read", set())

    def add(one: socket.socket, url: str) -> None:
        kept.append(environment.PassedSocket(os.dup(one.fileno()), name_of(url)))

    yield add
    kept_sockets.close_rest()


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server((LOCAL, 0)) as one:
        yield one


def test_a_socket_is_taken_once_for_its_address(keep: Keep, tcp: socket.socket) -> None:
    keep(tcp, "http://one")
    port = tcp.getsockname()[1]
    take = kept_sockets.take_tcp
    assert take(socket.AF_INET, (LOCAL, port + 1), dual=False, shared=False) is None
    assert take(socket.AF_INET, ("0.0.0.0", port), dual=False, shared=False) is None
    assert take(socket.AF_INET, (LOCAL, port), dual=False, shared=True) is None, "it would need SO_REUSEPORT"
    taken = take(socket.AF_INET, (LOCAL, port), dual=False, shared=None)
    assert taken is not None
    with taken:
        assert not taken.get_inheritable()
    assert take(socket.AF_INET, (LOCAL, port), dual=False, shared=None) is None


def test_what_is_not_taken_is_closed_and_named_once(keep: Keep, tcp: socket.socket) -> None:
    keep(tcp, "http://one")
    kept_sockets.close_rest()
    kept_sockets.close_rest()
    assert kept_sockets.names_left() == [name_of("http://one")]
    assert kept_sockets.names_left() == []
    with socket.create_connection(tcp.getsockname()):
        pass  # it was closed, and not shut down


def test_what_is_in_the_way_is_shut_down(keep: Keep, tcp: socket.socket) -> None:
    keep(tcp, "http://one")
    port = tcp.getsockname()[1]
    assert not kept_sockets.clear(port + 1)
    assert kept_sockets.clear(port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(tcp.getsockname()).close()
    assert kept_sockets.names_left() == [name_of("http://one")]


def test_a_unix_socket_is_taken_while_its_path_leads_to_it(keep: Keep, tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(path)
        one.listen()
        for listener in (one, other):
            keep(one, f"unix:{path}")
            if listener is one:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)  # its connection has the path as well
                    taken = kept_sockets.take_unix(path)
                assert taken is not None
                taken.close()
                os.unlink(path)
                other.bind(path)
                other.listen()
            else:
                assert kept_sockets.take_unix(path) is None


def test_what_is_no_listening_socket_is_not_taken(keep: Keep) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((LOCAL, 0))
        keep(datagrams, "http://one")
        place = datagrams.getsockname()
        assert kept_sockets.take_tcp(socket.AF_INET, place, dual=False, shared=False) is None


def test_a_name_is_ascii_without_colons_and_not_too_long() -> None:
    assert name_of("http://[::1]:80") == "prefork-kept-http%3a//[%3a%3a1]%3a80"
    assert name_of("unix:/tmp/a b\n") == "prefork-kept-unix%3a/tmp/a%20b%0a"
    assert len(name_of("unix:/" + "é" * 100)) == 255
    assert name_of("unix:/é").isascii()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Notified()),
        ({"NOTIFY_SOCKET": "@n"}, Notified("@n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000"}, Notified("/n", 3.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, Notified("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "-3", "FDSTORE": "x"}, Notified("/n")),
        ({"NOTIFY_SOCKET": "/n", "FDSTORE": "4"}, Notified("/n", keeps=True)),
        ({"NOTIFY_SOCKET": "/n", "FDSTORE": "0"}, Notified("/n")),
        ({"FDSTORE": "4", "WATCHDOG_USEC": "3000000"}, Notified()),
    ],
)
def test_the_environment_is_read_once_and_taken_away(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: Notified
) -> None:
    monkeypatch.setattr(environment, "_taken", [])
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert notified() == expected
    assert not given.keys() & os.environ.keys()
    assert notified() == expected


def test_kept_sockets_are_none_of_a_socket_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", f"web:{name_of('http://one')}")
    assert [one.name for one in environment.passed_sockets()] == ["web", "unknown"]
    assert [one.descriptor for one in environment.stored_sockets()] == [4]
