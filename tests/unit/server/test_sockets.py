"""Addresses, and the sockets that stand for them."""

from __future__ import annotations

import contextlib
import errno
import grp
import ipaddress
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefork import BindError
from prefork.config.endpoints import endpoints, tcp_or_unix
from prefork.server import sockets
from prefork.server.sockets import ListeningSockets

ELSEWHERE = "192.0.2.1"  # for documentation (RFC 5737)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What host names stand for."""
    known: dict[str, list[str]] = {}

    def look_up(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def listen(address: str | None, port: int | None, domain: str | None = None) -> ListeningSockets:
    return sockets.listen(tcp_or_unix(address, port, domain))


def listen_at(text: str) -> ListeningSockets:
    (endpoint,) = endpoints([text])
    return sockets.listen(endpoint)


def places(listening: ListeningSockets) -> list[tuple[str, int]]:
    try:
        return [listener.getsockname() for listener in listening.sockets]
    finally:
        listening.close()


def test_a_name_is_all_its_addresses_and_they_share_a_port(names: dict[str, list[str]]) -> None:
    names["here"] = ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    (first, port), (second, same) = places(listen("here", 0))
    assert (first, second, port) == ("127.0.0.1", "127.0.0.2", same)


def test_addresses_that_this_machine_does_not_have_are_left_out(names: dict[str, list[str]]) -> None:
    names["partly"] = [ELSEWHERE, "127.0.0.1"]
    ((address, _),) = places(listen("partly", 0))
    assert address == "127.0.0.1"


def test_a_name_that_is_elsewhere_is_refused(names: dict[str, list[str]]) -> None:
    names["elsewhere"] = [ELSEWHERE]
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1:0: .* not an address of this"):
        listen("elsewhere", 0)


def test_when_one_address_is_taken_none_is_held(names: dict[str, list[str]]) -> None:
    names["here"] = ["127.0.0.1", "127.0.0.2"]
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.2:{port}: Address already in use"):
            listen("here", port)
        socket.create_server(("127.0.0.1", port)).close()


def test_no_address_is_every_one_of_the_machine() -> None:
    listening = listen(None, 0)
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
    listening = listen(address, 0, domain)
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
    (first, port, *_), (second, same) = places(listen("everywhere", 0))
    assert (first, second, port) == ("::", "0.0.0.0", same)


@pytest.mark.parametrize(
    ("address", "url"), [("127.0.0.1", "http://127.0.0.1:{}"), ("::1", "http://[::1]:{}")]
)
def test_the_url_names_address_and_port(address: str, url: str) -> None:
    try:
        listening = listen(address, 0)
    except BindError:
        pytest.skip("this machine has no IPv6")
    assert listening.url == url.format(listening.port)
    listening.close()


@pytest.fixture
def running_as_before() -> Iterator[None]:
    mask = os.umask(0o027)
    yield
    os.umask(mask)


@pytest.mark.usefixtures("running_as_before")
@pytest.mark.parametrize(
    ("settings", "mode"),
    [("", 0o666), (",mode=600", 0o600), (",mode=777", 0o777), (",umask=007", 0o660), (",umask=077", 0o600)],
)
def test_a_unix_socket_has_the_mode_that_is_said_whatever_the_umask(
    tmp_path: Path, settings: str, mode: int
) -> None:
    path = tmp_path / "sock"
    listening = listen_at(f"unix:{path}{settings}")
    assert (listening.port, listening.address, listening.url) == (None, str(path), f"unix:{path}")
    assert path.stat().st_mode & 0o777 == mode
    listening.close()
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_unix_socket_has_the_user_and_the_group_that_are_said(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    group = grp.getgrgid(1).gr_name
    with contextlib.closing(listen_at(f"unix:{path},user=12345,group={group}")):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 1)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root is nobody meanwhile."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_user_that_may_not_be_given_a_socket_is_one_line() -> None:
    # Not `tmp_path`, which only root may enter.
    with without_rights(), tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "sock")
        with pytest.raises(BindError, match="only root may give a socket to that user or group"):
            listen_at(f"unix:{path},user=0")
        assert not path.exists()


@pytest.mark.parametrize("is_dangling", [True, False])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, is_dangling: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with contextlib.ExitStack() as opened:
        if not is_dangling:
            stale = opened.enter_context(socket.socket(socket.AF_UNIX))
            stale.bind(str(target))
        with pytest.raises(BindError, match="a symbolic link is there, and links are not followed"):
            listen_at(f"unix:{link}")
    assert link.is_symlink()
    assert target.exists() is not is_dangling


def test_a_link_to_the_directory_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with contextlib.closing(listen_at(f"unix:{tmp_path}/link/sock")):
        assert (tmp_path / "real" / "sock").is_socket()


@pytest.mark.parametrize("is_full", [True, False])
def test_a_socket_on_which_a_process_answers_is_not_replaced(tmp_path: Path, is_full: bool) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        if is_full:
            client.connect(str(path))
        with pytest.raises(BindError, match="Address already in use; stop what uses it or choose another"):
            listen_at(f"unix:{path}")
    assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "fifo"])
def test_what_is_no_socket_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sock"
    make: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }
    make[kind]()
    with pytest.raises(BindError, match="a file that is no socket is there"):
        listen_at(f"unix:{path}")
    assert path.exists()


def test_of_servers_that_start_at_once_on_a_stale_socket_one_serves(tmp_path: Path) -> None:
    """Each one must not take the new socket of another for the stale one."""
    path = tmp_path / "sock"
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        with ThreadPoolExecutor(8) as threads:
            tries = [threads.submit(listen_at, f"unix:{path}") for _ in range(8)]
        (won,) = [one.result() for one in tries if one.exception() is None]
        assert all(isinstance(one.exception(), BindError | None) for one in tries)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        won.close()
        assert not path.exists()


def test_a_socket_that_cannot_be_had_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(BindError, match=r"cannot listen on .*: Operation not permitted"):
        listen_at(f"unix:{tmp_path}/sock")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["unix:/tmp/", "unix:@/tmp/"])
def test_a_name_of_a_unix_socket_that_is_too_long_is_one_line(place: str) -> None:
    taken = r"/tmp/x+: it has 108 bytes, and the system takes 107; choose a shorter one$"
    with pytest.raises(BindError, match=taken):
        listen_at(place + "x" * 103)


def test_the_longest_name_of_a_unix_socket(tmp_path: Path) -> None:
    path = f"{tmp_path}/"
    path += "x" * (107 - len(path))
    for place in (f"unix:{path}", f"unix:@{path}"):
        listen_at(place).close()


def test_an_abstract_socket_has_no_file() -> None:
    name = f"prefork-{os.getpid()}"
    listening = listen_at(f"unix:@{name}")
    assert (listening.port, listening.address, listening.url) == (None, f"@{name}", f"unix:@{name}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name}")
    with pytest.raises(BindError, match=f"cannot listen on unix:@{name}: Address already in use"):
        listen_at(f"unix:@{name}")
    listening.close()
    listen_at(f"unix:@{name}").close()


def link_local() -> str | None:
    with contextlib.suppress(OSError), open("/proc/net/if_inet6") as table:
        for digits, *_, device in map(str.split, table):
            if digits.startswith("fe80"):
                return f"{ipaddress.IPv6Address(bytes.fromhex(digits))}%{device}"
    return None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local address")
def test_an_address_of_ipv6_may_have_a_zone() -> None:
    listening = listen_at(f"[{link_local()}]:0")
    try:
        assert listening.url == f"http://[{link_local()}]:{listening.port}"
        socket.create_connection((link_local() or "", listening.port or 0)).close()
    finally:
        listening.close()


def test_a_zone_that_is_none_is_one_line() -> None:
    with pytest.raises(BindError, match=r"cannot listen on fe80::1%nowhere0: .*; expected an IP address"):
        listen_at("[fe80::1%nowhere0]:0")


@IPV6
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("[fe80::dead%lo]:1", r"\[fe80::dead%lo\]:1: .*; it is not an address of this machine"),
        ("[fe80::dead]:1", r"\[fe80::dead\]:1: Invalid argument; an address that .* needs its zone"),
    ],
)
def test_a_link_local_address_that_cannot_be_had_is_told_with_its_zone(place: str, why: str) -> None:
    with pytest.raises(BindError, match=f"^cannot listen on {why}"):
        listen_at(place)


def test_a_port_is_shared_only_if_both_say_so() -> None:
    first = listen_at("127.0.0.1:0,reuse_port")
    listen_at(f"127.0.0.1:{first.port},reuse_port").close()
    with pytest.raises(BindError, match="Address already in use"):
        listen_at(f"127.0.0.1:{first.port}")
    first.close()


def connected() -> socket.socket:
    """A connection without a peer."""
    own, other = socket.socketpair()
    other.close()
    return own


def passed(one: socket.socket, settings: str = "") -> ListeningSockets:
    return listen_at(f"fd://{one.fileno()}{settings}")


def test_a_passed_socket_is_never_shut_down() -> None:
    """Another process has it as well, and starts the next server with it."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        listening = listen_at(f"fd://{os.dup(own.fileno())}")
        assert (listening.address, listening.port) == own.getsockname()
        assert not listening.sockets[0].getblocking()
        assert not listening.sockets[0].get_inheritable()
        assert listening.stays
        listening.rest()
        with socket.create_connection(own.getsockname()):
            listening.resume()
        listening.close()
        socket.create_connection(own.getsockname()).close()


def test_a_passed_socket_with_a_path_keeps_its_file(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    own = socket.socket(socket.AF_UNIX)
    own.bind(path)
    listening = listen_at(f"fd://{own.detach()}")
    assert listening.url == f"unix:{path}"
    listening.close()
    assert os.path.exists(path)


def test_a_passed_socket_that_is_bound_is_made_to_listen() -> None:
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    place = own.getsockname()
    listening = listen_at(f"fd://{own.detach()}")
    socket.create_connection(place).close()
    listening.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (connected, "it is a connection"),
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "it is no TCP and no Unix stream socket"),
        (lambda: socket.socket(socket.AF_UNIX), "it is bound to no path"),
        (lambda: open(os.devnull), "Socket operation on non-socket; it is another file"),  # noqa: SIM115
    ],
    ids=["a connection", "a datagram socket", "an unbound one", "a file"],
)
def test_what_cannot_listen_is_one_line_and_stays_open(make: Callable[[], Any], why: str) -> None:
    with make() as own:
        with pytest.raises(BindError, match=f"cannot listen on fd://{own.fileno()}: {why}"):
            passed(own)
        os.fstat(own.fileno())


def test_a_number_that_is_not_open_is_one_line() -> None:
    with pytest.raises(BindError, match=r"cannot listen on fd://9999: Bad file descriptor; the parent proc"):
        listen_at("fd://9999")


def test_a_passed_socket_that_was_shut_down_does_not_resume(tmp_path: Path) -> None:
    own = socket.socket(socket.AF_UNIX)
    own.bind(str(tmp_path / "sock"))
    listening = listen_at(f"fd://{own.detach()}")
    listening.sockets[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(BindError, match="the socket was shut down; start it again"):
        listening.resume()
    listening.close()


def test_closing_leaves_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listening = listen(str(path), None)
    os.rename(path, tmp_path / "moved")
    path.write_text("another program's")
    listening.close()
    assert path.read_text() == "another program's"


def test_domain_unix_needs_a_path() -> None:
    with pytest.raises(BindError, match="a Unix socket needs a path"):
        listen(None, None, "unix")
