"""Addresses, and the sockets that stand for them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from prefork import BindError
from prefork.server.sockets import ListeningSockets, listen

ELSEWHERE = "192.0.2.1"  # for documentation (RFC 5737)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What host names stand for."""
    known: dict[str, list[str]] = {}

    def look_up(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def places(listening: ListeningSockets) -> list[tuple[str, int]]:
    try:
        return [listener.getsockname() for listener in listening.sockets]
    finally:
        listening.close()


def test_a_name_is_all_its_addresses_and_they_share_a_port(names: dict[str, list[str]]) -> None:
    names["here"] = ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    (first, port), (second, same) = places(listen("here", 0, None, 10))
    assert (first, second, port) == ("127.0.0.1", "127.0.0.2", same)


def test_addresses_that_this_machine_does_not_have_are_left_out(names: dict[str, list[str]]) -> None:
    names["partly"] = [ELSEWHERE, "127.0.0.1"]
    ((address, _),) = places(listen("partly", 0, None, 10))
    assert address == "127.0.0.1"


def test_a_name_that_is_elsewhere_is_refused(names: dict[str, list[str]]) -> None:
    names["elsewhere"] = [ELSEWHERE]
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1:0: .* not an address of this"):
        listen("elsewhere", 0, None, 10)


def test_when_one_address_is_taken_none_is_held(names: dict[str, list[str]]) -> None:
    names["here"] = ["127.0.0.1", "127.0.0.2"]
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.2:{port}: Address already in use"):
            listen("here", port, None, 10)
        socket.create_server(("127.0.0.1", port)).close()


def test_no_address_is_every_one_of_the_machine() -> None:
    listening = listen(None, 0, None, 10)
    try:
        assert listening.address in ("::", "0.0.0.0")
        assert listening.port
        socket.create_connection(("127.0.0.1", listening.port)).close()
    finally:
        listening.close()


IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@IPV6
@pytest.mark.parametrize(
    ("address", "domain", "both"),
    [(None, None, True), ("::", None, True), ("0::0", None, True), ("::", "inet6", False)],
)
def test_all_of_ipv6_is_ipv4_as_well_unless_the_domain_was_said(
    address: str | None, domain: str | None, both: bool
) -> None:
    listening = listen(address, 0, domain, 10)
    try:
        assert listening.address == "::"
        assert listening.port
        socket.create_connection(("::1", listening.port)).close()
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", listening.port)) == (0 if both else errno.ECONNREFUSED)
    finally:
        listening.close()


@IPV6
def test_a_name_for_all_of_ipv6_and_all_of_ipv4_is_two_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, 1, 6, "", ("::", 0, 0, 0)), (socket.AF_INET, 1, 6, "", ("0.0.0.0", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    (first, port, *_), (second, same) = places(listen("everywhere", 0, None, 10))
    assert (first, second, port) == ("::", "0.0.0.0", same)


@pytest.mark.parametrize(
    ("address", "url"), [("127.0.0.1", "http://127.0.0.1:{}"), ("::1", "http://[::1]:{}")]
)
def test_the_url_names_address_and_port(address: str, url: str) -> None:
    try:
        listening = listen(address, 0, None, 10)
    except BindError:
        pytest.skip("this machine has no IPv6")
    assert listening.url == url.format(listening.port)
    listening.close()


def test_closing_removes_the_file_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listening = listen(str(path), None, None, 10)
    assert (listening.port, listening.address, listening.url) == (None, str(path), f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o666
    listening.close()
    assert not path.exists()


def test_closing_leaves_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listening = listen(str(path), None, None, 10)
    os.rename(path, tmp_path / "moved")
    path.write_text("another program's")
    listening.close()
    assert path.read_text() == "another program's"


def test_domain_unix_needs_a_path() -> None:
    with pytest.raises(BindError, match="a Unix socket needs a path"):
        listen(None, None, "unix", 10)
