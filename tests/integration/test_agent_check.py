"""The agent check: what the manager tells a balancer, to whom, and what its clients cannot do."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from support.apps import APPS
from support.control import command, done
from support.fleet import TOKEN, agent_line
from support.molds import descriptors_at_rest
from support.pool import MakePool, Pool, pid_serving
from support.proxies import free_port
from support.server import Server, run_prefork, start_program
from support.upgrades import manager, serving
from support.waiting import DEADLINE_S, wait_until

FOUR = {"start_servers": 4, "min_spare_servers": 4, "max_spare_servers": 4, "max_clients": 4}
IDLE = "up 100% ready\n"


def start_command(*arguments: str) -> subprocess.Popen[str]:
    return start_program("-m", "prefork", *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def weight(port: int) -> int:
    found = re.fullmatch(r"up (\d+)%(?: ready)?\n", agent_line(port))
    assert found
    return int(found[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def four(pool: MakePool, port: int) -> Pool:
    server = pool("--agent-check", f"127.0.0.1:{port}", **FOUR)
    server.wait_spares(4)
    return server


# --- what it says ------------------------------------------------------------------------------------------


def test_the_weight_follows_the_workers_that_are_free(four: Pool, port: int) -> None:
    """It is an average, which begins with the first client that asks."""
    four.hold(3)
    four.wait_active(3)
    assert weight(port) == 25
    four.release()
    wait_until(lambda: weight(port) == 100, "the weight of an idle pool")


def test_it_responds_while_every_worker_is_stuck_and_stopped(four: Pool, port: int) -> None:
    four.hold(4)
    four.wait_active(4)
    assert weight(port) == 5
    workers = four.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        assert weight(port) == 5
        assert time.monotonic() - began_s < DEADLINE_S / 2  # no worker is asked
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    four.release()


def test_room_to_grow_counts_as_workers_that_are_there(pool: MakePool, port: int) -> None:
    limits = {"start_servers": 2, "min_spare_servers": 1, "max_spare_servers": 2, "max_clients": 10}
    server = pool("--agent-check", f"127.0.0.1:{port}", **limits)
    server.hold(5)
    server.wait_active(5)
    assert weight(port) == 50  # five more may be spawned
    server.release()


def test_a_pool_that_is_drained_says_so_until_it_is_resumed(four: Pool, port: int) -> None:
    assert agent_line(port) == IDLE
    four.hold(1)
    four.wait_active(1)
    begun = command(four, "drain", "--timeout", "0")
    assert begun.returncode == 1  # a worker has a request
    assert agent_line(port) == "drain\n"
    four.release()
    wait_until(lambda: agent_line(port) == "maint\n", "the last worker to end")
    done(four, "resume")
    wait_until(lambda: agent_line(port) == IDLE, "the pool to be back")


def test_balancers_know_before_the_listener_closes(four: Pool, port: int) -> None:
    assert agent_line(port) == IDLE
    assert four.glue
    with four.connect() as sock:  # one that a balancer keeps
        assert pid_serving(sock) in four.workers()
        drain = start_command("drain", "--glue", four.glue)
        wait_until(lambda: agent_line(port) == "drain\n", "the word of a node that is about to leave")
        assert four.manager("server.listening is not None")
        assert pid_serving(sock) in four.workers()
        assert agent_line(port) == "drain\n"
    assert drain.wait(DEADLINE_S) == 0
    assert agent_line(port) == "maint\n"


def test_a_server_that_stops_says_so_until_it_ends(four: Pool, port: int) -> None:
    four.hold(1)
    four.wait_active(1)
    four.signal(signal.SIGTERM)
    wait_until(lambda: agent_line(port) == "drain\n", "the word of a server that stops")
    four.release()
    assert four.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        agent_line(port)


def test_a_pool_without_a_worker_that_is_ready_is_down(pool: MakePool, port: int, tmp_path: Path) -> None:
    server = pool(
        *("--agent-check", f"127.0.0.1:{port}"),
        **FOUR,
        ready=False,
        fork_handlers={"PAGES": "begin"},
        app="pool_boot.py",
        parameters={"begin": "waits for go"},
    )
    assert agent_line(port) == "down ready #no worker is ready\n"
    (tmp_path / "go").touch()
    wait_until(lambda: agent_line(port) == IDLE, "the first worker")
    server.wait_spares(4)


# --- through changes of the processes ----------------------------------------------------------------------


def test_it_goes_on_through_a_reload(four: Pool, port: int) -> None:
    done(four, "reload")
    assert weight(port) > 5


def test_the_next_manager_has_the_same_sockets(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    places = ("--agent-check", "127.0.0.1:0", "--agent-check", f"unix:{path}")
    with serving(tmp_path, *places) as server:
        port = port_of(server.pid)
        inode = path.stat().st_ino
        for _ in range(2):
            former = manager(server)
            done(server, "upgrade")
            wait_until(partial(is_succeeded, server, former), "the new manager")
            assert agent_line(port) == IDLE
            assert unix_line(path) == IDLE
        assert port_of(manager(server)) == port
        assert path.stat().st_ino == inode
        os.kill(manager(server), signal.SIGTERM)
        wait_until(lambda: not path.exists(), "the file to be removed")
        assert "Traceback" not in server.log


def is_succeeded(server: Server, former: int) -> bool:
    return manager(server) != former


def port_of(pid: int) -> int:
    """The port of the TCP socket of a manager that is not the server's: no worker has it."""
    mine, theirs = listening(pid), set[str]()
    for worker in children(pid):
        theirs |= listening(worker).keys()
    (port,) = {port for inode, port in mine.items() if inode not in theirs}
    return port


def listening(pid: int) -> dict[str, int]:
    """The TCP ports that a process listens on, by the inode of the socket."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in list(table)[1:]]
    ports = {row[9]: int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"}
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
        if (named := re.fullmatch(r"socket:\[(\d+)\]", target)) and named[1] in ports:
            found[named[1]] = ports[named[1]]
    return found


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def test_no_worker_and_no_mold_has_its_socket(tmp_path: Path, port: int) -> None:
    with serving(tmp_path, "--agent-check", f"127.0.0.1:{port}") as server:
        assert port in listening(server.pid).values()
        others = children(server.pid)
        assert len(others) >= 3  # the mold and two workers
        for other in others:
            assert port not in listening(other).values()


# --- who may ask -------------------------------------------------------------------------------------------


def unix_line(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        return sock.recv(4096).decode()


@pytest.fixture
def token(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return str(file)


def test_an_address_that_other_machines_reach_needs_a_token(port: int) -> None:
    common = (f"{APPS}/wsgi_path.py", "--bind", "127.0.0.1:0", "--agent-check", f"0.0.0.0:{port}")
    refused = run_prefork("serve", *common)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"prefork: agent_check: other machines may reach 0.0.0.0:{port}, so it needs admin_token_file; "
        f"or use 127.0.0.1:{port} or unix:/path\n"
    )


def test_a_client_has_to_send_the_token_where_there_is_one(pool: MakePool, port: int, token: str) -> None:
    server = pool("--agent-check", f"0.0.0.0:{port}", "--admin-token-file", token, **FOUR)
    server.wait_spares(4)
    assert agent_line(port, TOKEN.encode() + b"\n") == IDLE
    assert agent_line(port, TOKEN.encode() + b"\r\nmore\n") == IDLE
    assert agent_line(port, b"fedcba9876543210\n") == ""
    assert "the token of --admin-token-file" in server.wait_log("agent check")
    for wrong in (TOKEN[:-1].encode() + b"\n", b"\n", b"\0" * 100_000, "ä\n".encode()):
        with open(os.devnull), socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
            sock.sendall(wrong)
            assert read_all(sock) == b""
    assert len([line for line in server.err if "agent check" in line]) == 1  # one line a minute


def read_all(sock: socket.socket) -> bytes:
    """A connection that is closed with something unread is reset: that is an end as well."""
    said = b""
    try:
        while received := sock.recv(4096):
            said += received
    except ConnectionResetError:
        pass
    return said


def test_a_client_that_sends_no_token_is_let_go_and_holds_up_no_other(
    pool: MakePool, port: int, token: str
) -> None:
    server = pool("--agent-check", f"127.0.0.1:{port}", "--admin-token-file", token, **FOUR)
    before = descriptors_at_rest(server, 4)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) for _ in range(200)]
    assert agent_line(port, TOKEN.encode() + b"\n") == IDLE
    assert server.descriptors() < before + 100
    for sock in silent:
        assert read_all(sock) == b""
        sock.close()
    wait_until(lambda: server.descriptors() <= before, "the descriptors of the clients to be closed")


def test_a_unix_socket_is_the_users_alone_and_needs_no_token(pool: MakePool, port: int, token: str) -> None:
    path = Path(token).with_name("agent")
    places = ("--agent-check", f"unix:{path}", "--agent-check", f"127.0.0.1:{port}")
    server = pool(*places, "--admin-token-file", token, **FOUR)
    server.wait_spares(4)
    assert path.stat().st_mode & 0o777 == 0o600
    assert unix_line(path) == IDLE
    server.stop()
    assert not path.exists()


# --- clients that do something else ------------------------------------------------------------------------


def test_what_a_client_sends_changes_nothing(four: Pool, port: int) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\0\xff" * 2000, b"shop/one\n"):
        assert agent_line(port, sent) == IDLE
    assert four.err == []


def test_clients_that_never_read_or_reset_cost_nothing(four: Pool, port: int) -> None:
    before = descriptors_at_rest(four, 4)
    kept = [socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) for _ in range(300)]
    for _ in range(300):
        sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert agent_line(port) == IDLE
    wait_until(lambda: four.descriptors() <= before, "the manager to have let them go")
    for sock in kept:
        sock.close()
    assert four.err == []


def test_a_port_that_is_taken_ends_the_start(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        place = f"127.0.0.1:{port}"
        refused = run_prefork(
            "serve", f"{APPS}/wsgi_path.py", "--bind", "127.0.0.1:0", "--agent-check", place
        )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"prefork: cannot listen on {place}: Address already in use")


def test_without_a_pool_there_is_nothing_to_tell(port: int) -> None:
    lone = (f"{APPS}/wsgi_path.py", "--bind", "127.0.0.1:0", "--start", "0")
    refused = run_prefork("serve", *lone, "--agent-check", f"127.0.0.1:{port}")
    assert (refused.returncode, refused.stderr) == (
        2,
        "prefork: agent_check tells of a pool, and with start_servers 0 there is none\n",
    )
