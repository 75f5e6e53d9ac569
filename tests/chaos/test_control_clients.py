"""Clients of the control socket that are broken or hostile: each costs little, and no other one notices."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

import pytest

from support.control import ask, connect_to, control_path, read_response
from support.molds import descriptors_at_rest
from support.pool import MakePool, Pool
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}


def refusals(server: Pool) -> list[str]:
    return [line for line in server.err if "is refused" in line]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "expected a line of JSON"),
        (b"\x00\xff" * 200 + b"\n", "expected a line of JSON"),
        (b'{"version": 1, "command": "frob"}\n', "expected one of the commands"),
        (b'{"version": 9, "command": "stop"}\n', "expected version 1"),
        (b'{"version": 1, "command": "stop", "arguments": {"now": "yes"}}\n', "now: expected true or false"),
        (
            b'{"version": 1, "command": "scale", "arguments": {"min_spare": "many"}}\n',
            "expected a whole number",
        ),
        (b'{"version": 1, "command": "scale", "arguments": {"a\\nb": 1}}\n', "got 'a\\nb'"),
    ],
)
def test_garbage_is_one_response_and_changes_nothing(pool: MakePool, sent: bytes, says: str) -> None:
    server = pool(**TWO)
    with connect_to(control_path(server)) as sock:
        sock.sendall(sent)
        response = read_response(sock)
    assert (response["ok"], response["status"]) == (False, 2)
    assert says in response["error"]
    assert server.get("/one") == b"one"
    assert ask(control_path(server), "explain")["ok"]


def test_ten_megabytes_are_not_kept(pool: MakePool) -> None:
    server = pool(**TWO)
    before = resident_kib(server.pid)
    with connect_to(control_path(server)) as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(160):
            sock.sendall(b"x" * 65536)
        raise AssertionError("all of it was taken")
    assert "longer than 256 KiB" in server.wait_log("is refused")
    assert resident_kib(server.pid) - before < 4096
    assert ask(control_path(server), "explain")["ok"]


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmRSS")))


def test_half_a_line_at_the_end_is_no_request(pool: MakePool) -> None:
    server = pool(**TWO)
    with connect_to(control_path(server)) as sock:
        sock.sendall(b'{"version": 1, "command": "stop"}')
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    server.wait_log("its last line has no end")
    assert server.get("/one") == b"one"


def test_a_client_that_never_reads_keeps_no_other_one(pool: MakePool) -> None:
    server = pool(**TWO)
    with connect_to(control_path(server)) as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.sendall(b'{"version": 1, "command": "frob"}\n' * 100)
        assert ask(control_path(server), "explain")["ok"]
        server.wait_log("is refused")
        assert len(refusals(server)) == 1


def test_a_hundred_clients_leave_room_for_one_that_asks(pool: MakePool) -> None:
    server = pool(**TWO)
    path = control_path(server)
    before = descriptors_at_rest(server, 2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect_to(path)) for _ in range(100)]
        for client in clients[50:]:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has made room already
                client.sendall(b'{"half a line')
        assert ask(path, "explain")["ok"]
        assert server.descriptors() <= before + 40
        server.wait_log("is refused")
        assert len(refusals(server)) == 1
    wait_until(lambda: server.descriptors() <= before, "its descriptors are closed")


def test_a_manager_without_descriptors_lets_clients_go(pool: MakePool) -> None:
    server = pool(**TWO)
    path = control_path(server)
    used = max(int(name) for name in os.listdir(f"/proc/{server.pid}/fd")) + 1
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, hard))
    with connect_to(path) as sock, connect_to(path) as another:
        assert b"" in (sock.recv(10), another.recv(10))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert ask(path, "explain")["ok"]


def test_a_client_that_leaves_in_the_middle_of_a_command_ends_nothing(pool: MakePool) -> None:
    server = pool(**TWO)
    old = server.wait_workers(2)
    with connect_to(control_path(server)) as sock:
        sock.sendall(b'{"version": 1, "command": "recycle", "arguments": {"all": true}}\n')
    server.wait_without(old)
    assert ask(control_path(server), "explain")["ok"]
    assert "Traceback" not in server.log


def test_many_commands_at_once_are_all_carried_out(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    path = control_path(server)
    line = b'{"version": 1, "command": "%s", "arguments": {"all": true}, "timeout_s": 20}\n'
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect_to(path)) for _ in range(20)]
        for client in clients:
            client.sendall(line % b"recycle")
        assert all(read_response(client)["ok"] for client in clients)
    assert server.get("/one") == b"one"


def test_the_manager_is_killed_in_the_middle_of_a_command(pool: MakePool) -> None:
    server = pool(**TWO)
    server.hold(1)
    server.wait_active(1)
    with connect_to(control_path(server)) as sock:
        sock.sendall(b'{"version": 1, "command": "drain", "timeout_s": 20}\n')
        wait_until(lambda: not server.status()["manager"]["kept"], "it has begun")
        server.process.kill()
        with pytest.raises((AssertionError, ConnectionResetError)):
            read_response(sock)
    server.wait()
