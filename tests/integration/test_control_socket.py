"""The control socket: who may use it, where it is, and what its clients cannot do."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.control import ask, command, connect_to, control_path, read_response
from support.pool import MakePool
from support.server import run_prefork

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}


def test_only_this_user_has_a_way_in(pool: MakePool) -> None:
    path = Path(control_path(pool(**TWO)))
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, os.geteuid())
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_file_is_gone_at_the_end_and_one_that_a_crash_left_is_replaced(pool: MakePool) -> None:
    server = pool(**TWO)
    path = control_path(server)
    assert server.glue
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    assert os.path.exists(path)
    again = pool("--glue", server.glue, **TWO)
    assert control_path(again) == path
    assert ask(path, "explain")["ok"]
    again.stop()
    assert not os.path.exists(path)


def test_files_that_other_dead_managers_left_are_removed(pool: MakePool, tmp_path: Path) -> None:
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    first = pool(env=env, **TWO)
    path = control_path(first)
    assert path.startswith(str(tmp_path))
    first.process.kill()
    first.wait()
    second = pool(env=env, **TWO)
    assert control_path(second) != path
    assert os.listdir(tmp_path / "prefork") == [os.path.basename(control_path(second))]


def test_another_path_and_none(pool: MakePool, tmp_path: Path) -> None:
    server = pool("--control-socket", "mine.sock", **TWO)
    assert control_path(server) == str(tmp_path / "mine.sock")
    assert command(server, "scale", "--max-clients", "5").returncode == 0
    taken = ["--bind", "127.0.0.1:0", "--control-socket", str(tmp_path / "mine.sock")]
    other = run_prefork("serve", str(APPS / "wsgi_path.py"), *taken)
    assert other.returncode == 2
    assert other.stderr.startswith(f"prefork: cannot listen on {tmp_path}/mine.sock: Address already in use")
    off = pool("--control-socket", "off", **TWO)
    refused = command(off, "stop")
    assert refused.returncode == 2
    assert "has no control socket" in refused.stderr


def test_without_a_directory_the_server_serves_and_says_so_once(pool: MakePool, tmp_path: Path) -> None:
    server = pool("--glue", "g" * 64, env={"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 60))}, ready=False, **TWO)
    server.wait_serving()
    assert server.get("/one") == b"one"
    server.stop()
    lines = [line for line in server.err if "no control socket" in line]
    assert len(lines) <= 1  # /run/user or /tmp may do


def test_a_forked_process_holds_no_copy(pool: MakePool) -> None:
    server = pool(**TWO)
    inode = os.stat(control_path(server)).st_ino
    assert inode
    with connect_to(control_path(server)):
        for pid in server.wait_workers(2):
            sockets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            with open("/proc/net/unix") as table:
                ours = [line.split()[6] for line in table if line.rstrip().endswith(control_path(server))]
            assert ours
            assert not {f"socket:[{number}]" for number in ours} & set(sockets)


def test_it_responds_while_every_worker_is_stuck(pool: MakePool) -> None:
    server = pool(**TWO | {"max_clients": 2})
    server.hold(2)
    server.wait_active(2)
    found = ask(control_path(server), "explain")
    assert found["result"]["workers"]["active"] == 2
    server.release()


def test_a_client_that_reads_on_after_its_last_request_gets_the_response(pool: MakePool) -> None:
    server = pool(**TWO)
    with connect_to(control_path(server)) as sock:
        sock.sendall(b'{"version": 1, "command": "scale", "arguments": {"max_clients": 4}}\n')
        sock.shutdown(socket.SHUT_WR)
        assert read_response(sock)["ok"]


AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
    sock.sendall(sys.argv[2].encode())
except (BrokenPipeError, ConnectionResetError):
    pass  # it is refused, and may read why
except OSError as error:
    sys.exit(type(error).__name__)
for line in sock.makefile():
    if '"ok"' in line:
        print(line)
        break
"""
STOP = '{"version": 1, "command": "stop"}\n'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def say_as_nobody(path: str, line: str) -> str:
    """Send a line as another user. Return the response, or the error of the system."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, path, line], capture_output=True, text=True, check=False, timeout=30
    )
    return (done.stdout or done.stderr).strip()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="prefork-test-") as made:
        path = Path(made)
        path.chmod(0o755)
        yield path


@needs_root
def test_another_user_is_not_heard(pool: MakePool, public: Path) -> None:
    server = pool("--control-socket", str(public / "control.sock"), **TWO)
    path = control_path(server)
    assert say_as_nobody(path, STOP) == "PermissionError"
    os.chmod(path, 0o666)
    response = json.loads(say_as_nobody(path, STOP))
    why = "user 65534 is not the user that runs this server, and not root"
    assert (response["ok"], response["error"]) == (False, why)
    server.wait_log("is refused: it is not the user that runs this server")
    assert server.get("/one") == b"one"


@needs_root
def test_the_user_that_the_server_runs_as_has_the_socket(pool: MakePool, public: Path) -> None:
    own = public / "run"
    own.mkdir()
    os.chown(own, 65534, 65534)
    server = pool("--user", "nobody", env={"XDG_RUNTIME_DIR": str(own)}, **TWO)
    path = Path(control_path(server))
    assert path.parent == own / "prefork"
    assert path.stat().st_uid == path.parent.stat().st_uid == 65534
    assert command(server, "scale", "--max-clients", "5").returncode == 0  # by root
    assert json.loads(say_as_nobody(str(path), STOP))["ok"]
    assert server.wait() == 0


def test_commands_without_a_pool_are_a_wrong_use() -> None:
    for name in ("scale", "stop"):
        arguments = ["--max-clients", "3"] if name == "scale" else []
        missing = run_prefork(name, "--glue", "no-such-pool", *arguments)
        assert missing.returncode == 2
        assert "found none" in missing.stderr
    assert run_prefork("scale", "--glue", "x").returncode == 2


def test_a_manager_that_is_stopped_is_reported_within_the_time(pool: MakePool) -> None:
    server = pool(**TWO)
    server.signal(signal.SIGSTOP)
    try:
        refused = command(server, "stop", "--timeout", "1")
        reload = command(server, "reload")
    finally:
        server.signal(signal.SIGCONT)
    assert refused.returncode == reload.returncode == 1
    assert "does not respond" in refused.stderr
    assert "does not respond" in reload.stderr
