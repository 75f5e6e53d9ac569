"""An upgrade: a new manager takes the place of the one that serves, and no connection is closed."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tls
from support.apps import APPS
from support.control import command, done
from support.load import Client, Clients
from support.processes import alive, children, state
from support.responses import read_response
from support.server import Server, running, write_app
from support.service_manager import service_manager
from support.upgrades import APP, kill_all, manager, new_process, serving
from support.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def write_command(path: Path, interpreter: Path) -> None:
    """The script that an installation has."""
    path.write_text(f"#!{interpreter}\nfrom prefork.cli.main import main\nmain()\n")
    path.chmod(0o755)


@contextlib.contextmanager
def started(script: Path, app: Path) -> Iterator[Server]:
    """A server that was started by that script."""
    process = subprocess.Popen(
        [str(script), "serve", str(app), "--bind", "127.0.0.1:0", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    server = Server(process)
    try:
        yield server.wait_serving()
    finally:
        if server.glue:
            kill_all(server)
        server.kill()


def upgrade(server: Server) -> int:
    """Upgrade, and return the new manager."""
    former = manager(server)
    assert "has taken over" in done(server, "upgrade")
    wait_until(lambda: manager(server) != former, "the new manager to hold the glue")
    return manager(server)


def fail(server: Server) -> str:
    """What is said of an upgrade that fails."""
    finished = command(server, "upgrade")
    assert (finished.returncode, finished.stdout) == (1, "")
    return finished.stderr


def ask(sock: socket.socket) -> int:
    """The manager of the worker that responds. The connection stays open."""
    sock.sendall(GET)
    status, fields, body = read_response(sock)
    assert (status, fields.get("connection")) == (200, None)
    return int(body.split()[1])


# --- one that succeeds -------------------------------------------------------------------------------------


@tls.plain_and_tls
def test_idle_connections_move_to_the_workers_of_the_new_manager(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with serving(tmp_path, *flags) as server:
        socks = [server.connect() for _ in range(6)]
        assert {ask(sock) for sock in socks} == {server.pid}
        for _ in range(2):
            new = upgrade(server)
            assert {ask(sock) for sock in socks} == {new}
        assert server.process.wait(10) == 0
        assert "ERROR" not in server.log
        for sock in socks:
            sock.close()


@tls.plain_and_tls
def test_no_request_fails_and_no_connection_is_closed_under_load(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with serving(tmp_path, *flags) as server, Clients([Client(server, "/") for _ in range(4)]) as clients:
        clients.more(50)
        for _ in range(3):
            upgrade(server)
            clients.more(50)
        assert clients.lost == []
        assert clients.statuses == {200}
        assert [one.opened + one.refused for one in clients.clients] == [1, 1, 1, 1]


def test_a_request_that_lasts_is_served_by_the_former_workers(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as slow, server.connect() as idle:
        ask(idle)
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.workers("active"), "the request to begin")
        new = upgrade(server)
        assert ask(idle) == new
        assert server.process.poll() is None
        (tmp_path / "release").touch()
        assert read_response(slow)[2] == b"first %d" % server.pid
        assert server.process.wait(10) == 0
        assert ask(slow) == new


def test_the_new_manager_has_the_new_code_and_the_same_port_glue_and_control_socket(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        write_app(tmp_path, APP.replace("first", "other"))
        new = upgrade(server)
        assert server.get() == b"other %d" % new
        assert len(server.workers()) == 2
        assert done(server, "scale", "--workers", "3")
        assert "stopped" in done(server, "stop")
        assert server.wait() == 0
        wait_until(lambda: not alive(new), "its end")


def test_usr2_upgrades(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.signal(signal.SIGUSR2)
        server.wait_log("has taken over")
        assert server.process.wait(10) == 0
        assert server.get() == b"first %d" % manager(server)


@pytest.mark.parametrize("bind", ["unix:shop.sock", "unix:@prefork-upgraded-{pid}"], ids=["path", "abstract"])
def test_a_unix_socket_goes_over_and_its_file_stays(tmp_path: Path, bind: str) -> None:
    with serving(tmp_path, bind=bind.format(pid=os.getpid())) as server:
        path = server.url.removeprefix("unix:").replace("@", "\0")

        def respond() -> int:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(path)
                return ask(sock)

        assert respond() == server.pid
        new = upgrade(server)
        assert server.process.wait(10) == 0
        assert respond() == new
        assert done(server, "stop")
        assert not os.path.exists(tmp_path / "shop.sock")


def test_an_address_that_the_new_manager_does_not_have_is_freed(tmp_path: Path) -> None:
    config, app = tmp_path / "prefork.toml", write_app(tmp_path, APP)
    names = ("bind", "admin", "agent_check", "redirect_http")

    def configure(number: int) -> None:
        unix = {name: f"unix:{name}{number}.sock" for name in names}
        lines = [f'bind = ["127.0.0.1:0", "{unix.pop("bind")}"]']
        lines += [f'{name} = ["{address}"]' for name, address in unix.items()]
        lines += [f'tls_cert = "{tls.CERT}"', f'tls_key = "{tls.KEY}"']
        config.write_text("\n".join(lines))

    def files() -> list[str]:
        return sorted(one.name for one in tmp_path.glob("*.sock"))

    configure(1)
    with running(str(app), "--config", str(config), "--workers", "2", cwd=tmp_path) as server:
        try:
            assert files() == sorted(f"{name}1.sock" for name in names)
            configure(2)
            assert "has taken over" in done(server, "upgrade")
            assert server.process.wait(10) == 0
            assert files() == sorted(f"{name}2.sock" for name in names)
            assert done(server, "stop")
            wait_until(lambda: not files(), "the end of the new manager")
        finally:
            kill_all(server)


def test_a_passed_socket_goes_over_under_its_number(tmp_path: Path) -> None:
    app = write_app(tmp_path, APP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        options = {"cwd": tmp_path, "pass_fds": [number]}
        with running(str(app), "--bind", f"fd://{number}", "--workers", "2", **options) as server:
            try:
                new = upgrade(server)
                assert server.process.wait(10) == 0
                assert server.get() == b"first %d" % new
            finally:
                kill_all(server)


def test_connections_stay_where_they_are_if_the_addresses_have_changed(tmp_path: Path) -> None:
    config = tmp_path / "prefork.toml"
    config.write_text('bind = ["127.0.0.1:0"]\n')
    app = write_app(tmp_path, APP)
    with running(str(app), "--config", str(config), "--workers", "2", cwd=tmp_path) as server:
        try:
            config.write_text('bind = ["127.0.0.1:0", "unix:more.sock"]\n')
            assert "open connections do not move" in done(server, "upgrade")
            assert server.process.wait(10) == 0
            assert server.get() == b"first %d" % manager(server)
        finally:
            kill_all(server)


# --- what else shows the server ----------------------------------------------------------------------------


def test_the_pid_file_has_the_new_manager_until_that_ends(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with serving(tmp_path, "--pid-file", str(file)) as server:
        assert file.read_text() == f"{server.pid}\n"
        new = upgrade(server)
        wait_until(lambda: file.read_text() == f"{new}\n", "the new pid")
        assert server.process.wait(10) == 0
        assert file.read_text() == f"{new}\n"
        assert done(server, "stop")
        assert not file.exists()


def test_the_service_manager_hears_of_the_new_main_process_and_then_from_it(tmp_path: Path) -> None:
    app = write_app(tmp_path, APP)
    with service_manager(tmp_path) as service:
        server = service.start(str(app), "--bind", "127.0.0.1:0", "--workers", "2", store=4).wait_serving()
        try:
            service.wait("READY")
            new = upgrade(server)
            service.wait("READY", 2)
            assert server.process.wait(10) == 0
            assert done(server, "stop")
            service.wait("STOPPING")
            told = [
                (pid == new, name, message[name])
                for pid, message in zip(service.pids, service.read(), strict=True)
                for name in ("READY", "MAINPID", "STOPPING")
                if name in message
            ]
            assert told == [
                (False, "READY", "1"),
                (False, "MAINPID", str(server.pid)),
                (False, "MAINPID", str(new)),
                (True, "READY", "1"),
                (True, "MAINPID", str(new)),
                (True, "STOPPING", "1"),
            ]
        finally:
            kill_all(server)


def test_a_virtual_environment_that_a_link_leads_to_is_that_of_now(tmp_path: Path) -> None:
    """The command is the one that was called, and its link is followed again."""
    app = write_app(tmp_path, APP.replace('b"first %d" % os.getppid()', "sys.executable.encode()"))
    app.write_text("import sys\n" + app.read_text())
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python").symlink_to(sys.executable)
        write_command(tmp_path / name / "prefork", tmp_path / name / "python")
    current = tmp_path / "current"
    current.symlink_to("old")
    with started(current / "prefork", app) as server:
        assert server.get() == str(tmp_path / "old" / "python").encode()
        current.unlink()
        current.symlink_to("new")
        upgrade(server)
        assert server.process.wait(10) == 0
        assert server.get() == str(tmp_path / "new" / "python").encode()


# --- one that fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nothere\n", "could not be loaded: ModuleNotFoundError: No module named 'nothere'"),
        ("import os\nos._exit(5)\n", "exit status 5"),
        ("import time\ntime.sleep(60)\n", "not loaded within boot_timeout"),
        ("from prefork import Kernel, PreForkServer\nserver = PreForkServer(Kernel())\n", "a program now"),
    ],
    ids=["import error", "exit", "hangs", "program"],
)
def test_the_former_manager_serves_on_if_the_new_code_fails(tmp_path: Path, source: str, told: str) -> None:
    with serving(tmp_path, "--boot-timeout", "2") as server, server.connect() as idle:
        workers = server.workers()
        ask(idle)
        write_app(tmp_path, source)
        said = fail(server)
        assert told in said
        assert f"the manager {server.pid} serves on" in said
        assert told in server.wait_log("this manager serves on")
        assert ask(idle) == manager(server) == server.pid
        assert server.workers() == workers
        new = new_process(server)
        wait_until(lambda: not alive(new), "the end of the new process")
        write_app(tmp_path, APP)
        assert ask(idle) == server.pid
        assert upgrade(server) == ask(idle)


def test_the_former_manager_serves_on_if_there_is_no_memory_for_another_pool(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as idle:
        ask(idle)
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, hard))
        assert "cannot create the scoreboard" in fail(server)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
        assert "Traceback" not in server.log
        assert ask(idle) == server.pid
        assert upgrade(server) == ask(idle)


def test_the_new_process_may_be_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as idle:
        ask(idle)
        write_app(tmp_path, "import time\ntime.sleep(60)\n")
        server.signal(signal.SIGUSR2)
        os.kill(new_process(server), signal.SIGKILL)
        assert "killed by SIGKILL" in server.wait_log("this manager serves on")
        assert ask(idle) == server.pid
        assert "Z" not in {state(pid) for pid in children(server.pid)}


def test_a_new_process_that_stands_still_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--boot-timeout", "1") as server, server.connect() as idle:
        ask(idle)
        server.signal(signal.SIGUSR2)
        new = new_process(server)
        os.kill(new, signal.SIGSTOP)
        assert "was not ready within 6 s (--boot-timeout)" in server.wait_log("this manager serves on")
        assert ask(idle) == server.pid
        wait_until(lambda: not alive(new), "its end")


def test_the_new_manager_goes_on_alone_if_the_former_is_killed_meanwhile(tmp_path: Path) -> None:
    source = APP + "while not os.path.exists('load'): time.sleep(0.01)\n"
    (tmp_path / "load").touch()
    with serving(tmp_path, source=source) as server:
        (tmp_path / "load").unlink()
        server.signal(signal.SIGUSR2)
        new = new_process(server)
        wait_until(lambda: children(new), "the mold of the new manager")
        server.process.kill()
        (tmp_path / "load").touch()
        server.wait_log("this one goes on alone")
        wait_until(lambda: manager(server) == new, "the glue")
        assert server.get() == b"first %d" % new
        assert done(server, "stop")


def begin_one_that_hangs(server: Server, directory: Path) -> int:
    write_app(directory, "import time\ntime.sleep(60)\n")
    server.signal(signal.SIGUSR2)
    return new_process(server)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_ends_both(tmp_path: Path, signum: int) -> None:
    with serving(tmp_path) as server:
        new = begin_one_that_hangs(server, tmp_path)
        server.signal(signum)
        assert server.wait() == 0
        wait_until(lambda: not alive(new), "the end of the new process")
        assert "given up, because the server is stopping" in server.log


def test_a_second_upgrade_and_a_reload_are_refused_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        begin_one_that_hangs(server, tmp_path)
        assert "an upgrade is under way already" in fail(server)
        finished = command(server, "reload")
        assert (finished.returncode, "an upgrade is under way" in finished.stderr) == (1, True)
        server.signal(signal.SIGHUP)
        server.wait_log("HUP changes nothing: an upgrade is under way")
        assert server.stop() == 0


def test_an_upgrade_is_refused_while_a_reload_is_under_way(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        write_app(tmp_path, "import time\ntime.sleep(60)\n")
        server.signal(signal.SIGHUP)
        server.wait_log("HUP: loading")
        assert "a reload is under way" in fail(server)


def test_a_command_that_is_gone(tmp_path: Path) -> None:
    script = tmp_path / "run"
    write_command(script, Path(sys.executable))
    with started(script, write_app(tmp_path, APP)) as server:
        script.unlink()
        assert "cannot be started: No such file or directory" in fail(server)
        assert server.get() == b"first %d" % server.pid
        assert server.stop() == 0


def test_a_program_says_why_it_is_not_upgraded(tmp_path: Path) -> None:
    with running(str(APPS / "pool_app.py") + ":server", "--bind", "127.0.0.1:0", cwd=tmp_path) as server:
        assert "restart it" in fail(server)
        server.signal(signal.SIGUSR2)
        assert "restart it" in server.wait_log("SIGUSR2 changes nothing")


def test_the_environment_of_the_application_has_no_trace(tmp_path: Path) -> None:
    source = APP.replace('b"first %d" % os.getppid()', "repr(sorted(os.environ)).encode()")
    with serving(tmp_path, source="import sys\n" + source) as server:
        upgrade(server)
        assert b"_PREFORK" not in server.get()
