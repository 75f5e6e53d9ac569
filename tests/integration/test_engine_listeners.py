"""Where the server listens: families, Unix sockets, ports; and what of it is left afterwards."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import only, parse
from support.server import Serve, run_prefork

APP = APPS / "addresses.py"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_an_ipv4_address(serve: Serve) -> None:
    server = serve(APP, "--bind", "127.0.0.1:0")
    assert server.url.startswith("http://127.0.0.1:")
    assert server.get() == b"127.0.0.1 127.0.0.1 0"


def test_an_ipv6_address(serve: Serve) -> None:
    server = serve(APP, "--bind", "[::1]:0")
    assert server.url.startswith("http://[::1]:")
    assert server.get() == b"::1 ::1 0"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_dual_socket_sees_ipv4_clients_as_what_they_are(serve: Serve, host: str) -> None:
    server = serve(APP, bind=False, parameters={"port": 0})
    server.host = host
    assert server.get() == f"{host} {host} 0".encode()


def test_a_name_listens_on_each_of_its_addresses_at_one_port(serve: Serve) -> None:
    server = serve(APP, "--bind", "localhost:0")
    found = {str(place[0]) for *_, place in socket.getaddrinfo("localhost", 0, 0, socket.SOCK_STREAM)}
    for host in found:
        server.host = host
        assert server.get() == f"{host} {host} 0".encode()


def test_port_0_is_a_free_port_each_time(serve: Serve) -> None:
    first, second = serve(APP), serve(APP)
    assert first.port != second.port
    assert min(first.port, second.port) > 1023


def test_a_port_is_free_again_at_once(serve: Serve) -> None:
    first = serve(APP)
    assert first.get()
    assert first.stop() == 0
    assert serve(APP, "--bind", f"127.0.0.1:{first.port}").get()


def test_a_unix_socket_serves_and_its_file_goes_with_the_server(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    server = serve(APP, "--bind", f"unix:{path}")
    assert server.url == f"unix:{path}"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert only(server.raw(GET)).body == b"unix unix 0"
    body = b"x" * 1_000_000
    posted = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    first, second = parse(server.raw(posted + body + GET))
    assert (first.body, second.body) == (b"unix unix 1000000", b"unix unix 0")
    assert server.stop() == 0
    assert not path.exists()


def test_the_file_of_a_unix_socket_whose_server_was_killed_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    first = serve(APP, "--bind", f"unix:{path}")
    first.kill()
    assert path.exists()
    second = serve(APP, "--bind", f"unix:{path}")
    assert only(second.raw(GET)).status == 200


def test_a_unix_socket_in_use_is_refused(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    server = serve(APP, "--bind", f"unix:{path}")
    done = run_prefork("serve", str(APP), "--bind", f"unix:{path}")
    assert done.returncode == 2
    assert (
        done.stderr == f"prefork: cannot listen on {path}: Address already in use; "
        "stop what uses it or choose another\n"
    )
    assert only(server.raw(GET)).status == 200, "the one that has it is not disturbed"


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    done = run_prefork("serve", str(APP), "--bind", f"unix:{path}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert path.read_text() == "data"


def test_the_file_of_another_server_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    first = serve(APP, "--bind", f"unix:{path}")
    os.unlink(path)
    second = serve(APP, "--bind", f"unix:{path}")
    assert first.stop() == 0
    assert only(second.raw(GET)).status == 200


@pytest.mark.parametrize("place", ["127.0.0.1:{port}", "localhost:{port}"])
def test_a_taken_port_is_one_line_and_status_2(serve: Serve, place: str) -> None:
    port = serve(APP).port
    done = run_prefork("serve", str(APP), "--bind", place.format(port=port))
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1
