"""`--user`, `--group`, `--umask` and `--chroot`: a server that root starts goes on as another user."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from prefork.admin.routes import PAGES
from prefork.pool.privileges import Privileges
from prefork.pool.scoreboard import list_glues
from support import tls
from support.admin import addresses, request
from support.apps import APPS
from support.certificates import Authority, Files, save
from support.processes import alive
from support.server import Server, run_prefork, running, start_server, status_json
from support.tls_client import Client
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

APP = f"{APPS / 'places.py'}:server"
UID, GID = 12345, 23456
LOADED_AS = """
import os
import wsgiref.validate  # nothing else imports it

loaded_as = os.geteuid()


def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{loaded_as} {os.geteuid()}".encode()]
"""
AS_USER = ("--user", str(UID), "--group", str(GID))


@pytest.fixture
def start() -> Iterator[Any]:
    """`start(*flags)` serves `places.py` as another user."""
    with contextlib.ExitStack() as servers:

        def begin(*flags: str, user: tuple[str, ...] = AS_USER) -> Server:
            server = start_server(APP, *flags, *user)
            servers.callback(server.kill)
            return server.wait_serving()

        yield begin


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, unlike those of pytest, and root can write to."""
    with tempfile.TemporaryDirectory(prefix="prefork-test-") as made:
        path = Path(made)
        path.chmod(0o755)
        yield path


def get(server: Server) -> bytes:
    return server.raw(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")


def ids(pid: int) -> dict[str, list[int]]:
    """The users and groups of a process, and its capabilities."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    numbers = {name: list(map(int, found[name].split())) for name in ("Uid", "Gid", "Groups")}
    return numbers | {name: [int(found[name], 16)] for name in ("CapPrm", "CapEff", "CapAmb")}


THEIRS = {
    "Uid": [UID] * 4,
    "Gid": [GID] * 4,
    "Groups": [GID],
    "CapPrm": [0],
    "CapEff": [0],
    "CapAmb": [0],
}


def reader_of(server: Server) -> int:
    """Its child that is still root's. Workers may come and go meanwhile."""
    found = []
    for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if ids(int(pid))["Uid"] == [0] * 4:
                found.append(int(pid))
    assert len(found) == 1, found
    return found[0]


def sockets(pid: int) -> set[int]:
    """The numbers of the sockets that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if one := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}")):
                found.add(int(one[1]))
    return found


def privileged_port() -> int:
    """Any of them: another run of the tests looks for one at the same time."""
    for port in random.sample(range(700, 1024), 324):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    pytest.skip("there is no free port below 1024")


def is_refused(server: Server) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        server.connect().close()
        return False
    return True


def test_manager_and_workers_run_as_that_user_and_keep_nothing(start: Any) -> None:
    server = start("--bind", f"127.0.0.1:{privileged_port()}", "--workers", "2")
    assert all(ids(pid) == THEIRS for pid in (server.pid, *server.workers()))
    assert server.get("/")
    first, _ = server.workers()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in server.workers() and len(server.workers("spare")) == 2, "another worker")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.status()["manager"]["generation"] == 2, "the next generation")
    wait_until(
        lambda: all(worker["generation"] == 2 for worker in server.status()["workers"]), "it everywhere"
    )
    assert all(ids(pid) == THEIRS for pid in server.workers())
    assert server.get("/")
    assert server.stop() == 0


def test_a_server_without_a_pool_as_well(start: Any) -> None:
    server = start("--bind", "127.0.0.1:0", "--start", "0")
    assert ids(server.pid) == THEIRS
    assert server.get("/")
    assert server.stop() == 0


def test_what_a_user_cannot_read_is_found(public: Path) -> None:
    hidden, shown = public / "hidden", public / "shown"
    hidden.mkdir(mode=0o700)
    shown.mkdir(mode=0o755)
    user = Privileges(UID, GID, (GID,))
    assert user.out_of_reach([str(public), str(public / "none"), str(shown)]) == ""
    assert user.out_of_reach([str(shown), str(hidden)]) == str(hidden)
    assert Privileges().out_of_reach([str(hidden)]) == ""


def serving_app(directory: Path) -> AbstractContextManager[Server]:
    """An application that says which user has loaded it, and which one serves."""
    (directory / "loaded_as.py").write_text(LOADED_AS)
    return running("loaded_as:app", "--bind", "127.0.0.1:0", "--workers", "1", *AS_USER, cwd=directory)


def test_an_application_is_loaded_as_that_user_if_it_can_read_python(public: Path) -> None:
    hidden = Privileges(UID, GID, (GID,)).out_of_reach(sys.path)
    with serving_app(public) as server:
        assert get(server).endswith(b"%d %d" % (0 if hidden else UID, UID))
        assert (f"cannot read {hidden}" in server.log) == bool(hidden)


def test_one_that_the_user_cannot_read_is_loaded_before(public: Path) -> None:
    hidden = public / "hidden"
    hidden.mkdir(mode=0o700)
    with serving_app(hidden) as server:
        assert get(server).endswith(b"0 %d" % UID)
        assert "only root can load it: --user and --group cannot read" in server.log
        assert "Traceback" not in server.log
    told = run_prefork("serve", "loaded_as:app", "--no-preload", *AS_USER, cwd=hidden)
    assert told.returncode == 2
    assert "no_preload: no worker could load the application: --user" in told.stderr


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
def test_a_privileged_port_is_opened_again(start: Any, workers: tuple[str, ...]) -> None:
    """The new user could not bind it."""
    server = start("--bind", f"127.0.0.1:{privileged_port()}", *workers)
    for _ in range(2):
        server.signal(signal.SIGUSR2)
        wait_until(lambda: is_refused(server), "the port to be closed")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: not is_refused(server), "the port to be open")
        assert server.get("/")
    assert server.stop() == 0
    assert is_refused(server)
    assert "cannot listen" not in server.log


def test_another_port_is_closed_and_bound_again(start: Any) -> None:
    server = start("--bind", "127.0.0.1:0", "--workers", "1")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: is_refused(server), "the port to be closed")
    with socket.create_server(("127.0.0.1", server.port)):
        pass
    server.signal(signal.SIGUSR1)
    wait_until(lambda: not is_refused(server), "the port to be open")
    assert server.get("/")


@pytest.mark.parametrize(
    ("settings", "flags", "mode", "owner"),
    [
        ("", (), 0o666, (UID, GID)),
        ("", ("--umask", "007"), 0o660, (UID, GID)),
        (",mode=640", ("--umask", "007"), 0o640, (UID, GID)),
        (",umask=022,user=root,group=1", ("--umask", "007"), 0o644, (0, 1)),
    ],
)
def test_unix_sockets_are_that_users_unless_the_address_says_otherwise(
    start: Any, public: Path, settings: str, flags: tuple[str, ...], mode: int, owner: tuple[int, int]
) -> None:
    path = public / "sock"
    server = start("--bind", f"unix:{path}{settings}", "--workers", "1", *flags)
    found = path.stat()
    assert (found.st_mode & 0o777, (found.st_uid, found.st_gid)) == (mode, owner)
    assert b" 200 OK" in get(server)


def test_a_unix_socket_that_the_user_may_not_remove_is_replaced_by_the_next_server(
    start: Any, public: Path
) -> None:
    path = public / "sock"
    for _ in range(2):
        server = start("--bind", f"unix:{path}", "--workers", "1")
        assert b" 200 OK" in get(server)
        assert server.stop() == 0
        assert path.is_socket()
    os.chown(public, UID, GID)
    server = start("--bind", f"unix:{path}", "--workers", "1")
    assert server.stop() == 0
    assert not path.exists()


def test_a_key_that_only_root_may_read_is_read_before(start: Any, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    shutil.copy(tls.KEY, key)
    key.chmod(0o600)
    server = start("--bind", "127.0.0.1:0", "--tls-cert", str(tls.CERT), "--tls-key", str(key))
    assert server.get("/")


# --- new certificates, when the rights are given up ---------------------------------------------------------


class Renewal:
    """Files of TLS in a directory that every user can reach; the key is root's alone at first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = Authority()
        self.authority = self.root.save(directory)
        self.renew()

    def renew(self, mode: int = 0o600, group: int = 0) -> None:
        """A new certificate and its key, put in place one after the other."""
        chain, key = self.root.issue("localhost")
        new = save(self.directory, chain, key, "new")
        new.key.chmod(mode)
        os.chown(new.key, 0, group)
        self.files = Files(self.directory / "cert.pem", self.directory / "key.pem")
        os.replace(new.key, self.files.key)
        os.replace(new.cert, self.files.cert)
        self.serial = chain[0].serial_number

    def served(self, server: Server) -> int:
        """The number of the certificate that a client gets."""
        with Client(server.port, self.authority).connect() as sock:
            found = sock.getpeercert()
            assert found
            return int(str(found["serialNumber"]), 16)


@pytest.fixture
def renewal(public: Path) -> Renewal:
    return Renewal(public)


RESTART = "new certificates will need a restart"


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
@pytest.mark.parametrize("hup", [True, False], ids=["HUP", "seen"])
def test_another_process_reads_new_certificates_as_root(
    start: Any, renewal: Renewal, workers: tuple[str, ...], hup: bool
) -> None:
    flags = ("--bind", "127.0.0.1:0", *workers, *renewal.files.flags)
    server = start(*flags, "--tls-reload-as-root")
    for _ in range(2):
        renewal.renew()
        assert renewal.served(server) != renewal.serial
        if hup:
            server.signal(signal.SIGHUP)
        wait_until(lambda: renewal.served(server) == renewal.serial, "the new certificate")
    assert ids(server.pid) == THEIRS
    assert RESTART not in server.log
    reader = reader_of(server)
    held = [os.readlink(f"/proc/{reader}/fd/{name}") for name in os.listdir(f"/proc/{reader}/fd")]
    assert sorted(name.partition(":")[0] for name in held) == ["/dev/null"] * 3 + ["socket"]
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(reader, signum)  # as a terminal or a service manager does, to all
    renewal.renew()
    server.signal(signal.SIGHUP)
    wait_until(lambda: renewal.served(server) == renewal.serial, "the new certificate")
    assert server.stop() == 0
    assert not alive(reader)


def test_it_reads_them_from_outside_of_the_chroot_and_through_closed_directories(
    start: Any, renewal: Renewal, tmp_path: Path
) -> None:
    renewal.directory.chmod(0o700)
    jail = tmp_path / "jail"
    jail.mkdir()
    flags = ("--bind", "127.0.0.1:0", "--workers", "1", *renewal.files.flags)
    server = start(*flags, "--tls-reload-as-root", "--chroot", str(jail))
    renewal.renew()
    wait_until(lambda: renewal.served(server) == renewal.serial, "the new certificate")
    serial = renewal.serial
    renewal.files.key.unlink()
    line = server.wait_log("the former certificates stay")
    assert f"TLS: cannot read {renewal.files.key}: No such file or directory; " in line
    assert renewal.served(server) == serial


def test_the_reader_ends_with_the_manager_and_no_worker_can_ask_it(start: Any, renewal: Renewal) -> None:
    flags = ("--bind", "127.0.0.1:0", "--workers", "1", *renewal.files.flags)
    server = start(*flags, "--tls-reload-as-root")
    (worker,) = server.workers()
    reader = reader_of(server)
    (end,) = sockets(reader)
    # The other end of a pair has the next number.
    assert {end - 1, end + 1} & sockets(server.pid)
    assert not {end - 1, end, end + 1} & sockets(worker)
    server.process.kill()
    wait_until(lambda: not alive(reader), "its end")


def test_without_the_reader_the_old_certificate_stays(start: Any, renewal: Renewal) -> None:
    flags = ("--bind", "127.0.0.1:0", "--workers", "1", *renewal.files.flags)
    server = start(*flags, "--tls-reload-as-root")
    serial = renewal.serial
    reader = reader_of(server)
    os.kill(reader, signal.SIGKILL)
    renewal.renew()
    server.signal(signal.SIGHUP)
    line = server.wait_log("the former certificates stay")
    assert f"TLS: cannot read {renewal.files.cert}: the process that reads it as root has ended; " in line
    assert renewal.served(server) == serial
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
def test_a_key_of_the_users_group_is_read_again(
    start: Any, renewal: Renewal, workers: tuple[str, ...]
) -> None:
    renewal.renew(0o640, GID)
    server = start("--bind", "127.0.0.1:0", *workers, *renewal.files.flags)
    renewal.renew(0o640, GID)
    wait_until(lambda: renewal.served(server) == renewal.serial, "the new certificate")
    assert RESTART not in server.log


def test_a_key_that_the_user_cannot_read_is_one_line_and_the_old_one_stays(
    start: Any, renewal: Renewal
) -> None:
    server = start("--bind", "127.0.0.1:0", "--workers", "1", *renewal.files.flags)
    serial = renewal.serial
    told = server.wait_log(RESTART)
    assert f"TLS: the user of this server cannot read {renewal.files.key}: {RESTART}; " in told
    renewal.renew()
    line = server.wait_log("the former certificates stay")
    assert f"TLS: cannot read {renewal.files.key}: Permission denied; the former certificates stay" in line
    assert renewal.served(server) == serial
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log.count("the former certificates stay") == 2, "the line once more")
    assert renewal.served(server) == serial
    renewal.renew(0o640, GID)
    wait_until(lambda: renewal.served(server) == renewal.serial, "the new certificate")
    assert "Traceback" not in server.log


# --- what has to go on working ------------------------------------------------------------------------------


def test_workers_die_with_the_manager(start: Any) -> None:
    server = start("--bind", "127.0.0.1:0", "--workers", "3")
    workers = server.workers()
    server.process.kill()
    wait_until(lambda: not any(map(alive, workers)), "the workers to end")


def test_the_pool_is_the_new_users_and_root_finds_it(start: Any) -> None:
    server = start("--bind", "127.0.0.1:0", "--workers", "1", "--glue", f"privileges-{os.getpid()}")
    assert server.glue in list_glues(UID)
    assert server.glue not in list_glues(0)
    assert server.glue in list_glues()
    assert status_json(server.glue)["manager"]["pid"] == server.pid
    assert f"@prefork/{UID}/{server.glue}" in Path("/proc/net/unix").read_text()


def test_the_new_user_may_read_the_status(start: Any) -> None:
    server = start("--bind", "127.0.0.1:0", "--workers", "1", "--glue", f"privileges-{os.getpid()}")
    pid = os.fork()
    if pid == 0:
        from prefork.pool.scoreboard import open_scoreboard

        try:
            os.setresgid(GID, GID, GID)
            os.setresuid(UID, UID, UID)
            os._exit(int(open_scoreboard(server.glue)[1] != server.pid))
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("owner", [(0, 0), (UID, GID)], ids=["root's directory", "the user's"])
def test_the_pid_file_is_there_while_it_serves(start: Any, public: Path, owner: tuple[int, int]) -> None:
    os.chown(public, *owner)
    path = public / "pid"
    path.write_text("4711\n")
    server = start("--bind", "127.0.0.1:0", "--workers", "1", "--pid-file", str(path))
    assert path.read_text() == f"{server.pid}\n"
    (worker,) = server.workers()
    held = [os.readlink(f"/proc/{worker}/fd/{name}") for name in os.listdir(f"/proc/{worker}/fd")]
    assert str(path) not in held
    assert server.stop() == 0
    if owner == (0, 0):
        assert path.read_text() == ""
    else:
        assert not path.exists()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link"])
def test_the_pid_file_follows_no_link_of_another_user(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "pid"
    target.write_text("4711\n")
    if kind == "symbolic link":
        path.symlink_to(target)
    else:
        path.hardlink_to(target)
    done = run_prefork("serve", APP, "--bind", "127.0.0.1:0", "--pid-file", str(path), *AS_USER)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"pid file {path} " in done.stderr
    assert target.read_text() == "4711\n"


def test_the_access_log_is_opened_by_the_new_user(start: Any, public: Path) -> None:
    path = public / "access.log"
    flags = ("--bind", "127.0.0.1:0", "--access-log", str(path))
    done = run_prefork("serve", APP, *flags, *AS_USER)
    assert (done.returncode, done.stderr) == (
        2,
        f"prefork: access log {path} cannot be written: Permission denied\n",
    )
    os.chown(public, UID, GID)
    server = start(*flags, "--umask", "027")
    assert server.get("/")
    wait_until(lambda: "GET / " in path.read_text(), "the line")
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (UID, GID, 0o640)


# --- another root directory ---------------------------------------------------------------------------------


def test_a_server_in_a_chroot_serves_and_goes_on(start: Any, tmp_path: Path) -> None:
    jail, path = tmp_path / "jail", tmp_path / "pid"
    jail.mkdir()
    flags = ("--workers", "2", "--chroot", str(jail), "--pid-file", str(path))
    server = start("--bind", f"127.0.0.1:{privileged_port()}", "--bind", f"unix:{tmp_path}/sock", *flags)
    pids = (server.pid, *server.workers())
    assert [os.readlink(f"/proc/{pid}/root") for pid in pids] == [str(jail)] * 3
    assert all(ids(pid) == THEIRS for pid in pids)
    assert server.get("/")
    assert path.read_text() == f"{server.pid}\n"
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_until(lambda: len(server.workers("spare")) == 2, "another worker")
    assert server.get("/")
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_a_unix_socket_inside_of_the_chroot_is_opened_again(start: Any, public: Path) -> None:
    """Its path is looked up in the new root, which has no /proc."""
    inside = public / "jail" / str(public).lstrip("/")
    inside.mkdir(parents=True)
    os.chown(inside, UID, GID)
    server = start("--bind", f"unix:{public}/sock", "--workers", "1", "--chroot", str(public / "jail"))
    assert (public / "sock").is_socket()
    server.signal(signal.SIGUSR2)
    wait_until(lambda: "unlisten True" in server.out, "the socket to be closed")
    server.signal(signal.SIGUSR1)
    server.url = f"unix:{inside}/sock"
    server.wait_listening()
    assert b" 200 OK" in get(server)
    assert (inside / "sock").stat().st_mode & 0o777 == 0o666
    assert server.stop() == 0
    assert not (inside / "sock").exists()


def test_no_descriptor_of_a_worker_leads_out_of_the_chroot(start: Any, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    jail.mkdir()
    server = start("--bind", f"unix:{tmp_path}/sock", "--workers", "1", "--chroot", str(jail))
    for pid in (server.pid, *server.workers()):
        held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        assert not [path for path in held if os.path.isdir(path)]


# --- wrong use ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--user", "no-such-user"), "--user: expected the name or the id of a user of this machine"),
        (("-g", "no-such-group"), "--group: expected the name or the id of a group of this machine"),
        (("-u", str(UID)), f"user {UID} has no name here, and so no group; say which one with --group"),
        (("-m", "abc"), "--umask: expected octal permissions from 000 to 777, got 'abc'"),
        (("--chroot", "/no/such"), "--chroot: expected an existing directory"),
        (("--chroot", "/tmp", "--static", "/=/tmp"), "chroot: static files are outside of it; let a proxy"),
        (
            ("--tls-reload-as-root",),
            "tls_reload_as_root is for a server that root starts with --user",
        ),
        (("--tls-reload-as-root", *AS_USER), "tls_reload_as_root: there is no certificate (tls_cert)"),
        (("--initgroups",), "initgroups takes the groups of a user; say which one with --user"),
    ],
)
def test_a_wrong_use_is_one_line(flags: tuple[str, ...], line: str) -> None:
    done = run_prefork("serve", APP, "--bind", "127.0.0.1:0", *flags)
    assert done.returncode == 2
    assert re.fullmatch(f"prefork: {re.escape(line)}.*\n", done.stderr), done.stderr


def test_the_admin_listener_is_opened_by_root_and_shows_all_in_a_chroot(start: Any, public: Path) -> None:
    """No page needs a file or a module that is outside."""
    jail, token = public / "jail", public / "token"
    jail.mkdir()
    token.write_text("a-secret")
    token.chmod(0o600)
    address = (
        "--admin",
        f"unix:{public}/admin.sock",
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        str(token),
    )
    server = start("--bind", "127.0.0.1:0", "--workers", "2", "--chroot", str(jail), *address)
    found = (public / "admin.sock").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (UID, GID, 0o600)
    path = f"unix:{public}/admin.sock"
    for page in PAGES.keys() - {"/events"}:
        assert request(path, page)[0] == 200, page
    _, url = addresses(server)
    assert request(url, "/metrics", Authorization="Bearer a-secret")[0] == 200
    assert request(url, "/metrics", Authorization="Bearer other")[0] == 401
    assert server.stop() == 0
    assert "Traceback" not in server.log
