"""The units of deploy/: systemd reads them, and a server that is started as they say does what they ask for.

No service manager runs here: its side of the protocol is `support/service_manager.py`. What the units take
from the service is seen in two ways. `systemd-analyze security` judges the file, and strace(1) sees that the
server makes none of the system calls that are refused. Not seen: the mounts of ProtectSystem=
(test_deploy_container.py has a file system that can only be read), and what an application needs.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.control import done
from support.deploy import DEPLOY, SOCKET, command, edited, needs, unit
from support.responses import read_response
from support.server import Server, run_prefork
from support.service_manager import PREFORK, ServiceManager, service_manager
from support.waiting import DEADLINE_S, wait_until

UNITS = ("prefork.service", "prefork.socket")
MOST_EXPOSED = 2.0
"""Of 10, as `systemd-analyze security` counts. A service without any setting has 9.6."""
APPLICATION = f"{APPS}/origins.py:wsgi"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze(1), with all of its output in `stdout`."""
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )


def version() -> int:
    found = re.match(r"systemd (\d+)", analyze("--version").stdout)
    assert found
    return int(found[1])


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A directory with both units, whose command is there."""
    changes = {command()[0]: shutil.which("true") or "/bin/true"}
    if version() < 253:
        changes["Type=notify-reload"] = "Type=notify"  # as docs/deployment.md wants it for these
    (tmp_path / "prefork.service").write_text(edited("prefork.service", changes))
    (tmp_path / "prefork.socket").write_text(edited("prefork.socket", {}))
    return tmp_path


@needs("systemd-analyze")
def test_systemd_takes_the_units(units: Path) -> None:
    done = analyze("verify", *(str(units / name) for name in UNITS))
    assert (done.returncode, done.stdout) == (0, "")


@needs("systemd-analyze")
def test_a_setting_that_systemd_does_not_know_is_found(units: Path) -> None:
    service = units / "prefork.service"
    service.write_text(service.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", *(str(units / name) for name in UNITS)).stdout


@needs("systemd-analyze")
def test_the_service_is_little_exposed(units: Path) -> None:
    place = str(units / "prefork.service")
    done = analyze("security", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", place)
    assert done.returncode == 0, done.stdout


def test_the_units_fit_each_other_and_the_proxies() -> None:
    service, socket_unit = unit("prefork.service"), unit("prefork.socket")
    assert service["Requires"] == ["prefork.socket"]
    assert socket_unit["ListenStream"] == [SOCKET]
    (name,) = socket_unit["FileDescriptorName"]
    assert f"systemd:{name}" in command()
    # systemd gives a directory of the service to its user, with all that is in it: not that of the socket.
    assert f"/run/{service['RuntimeDirectory'][0]}" != str(Path(SOCKET).parent)
    for flag, setting, above in (
        ("--control-socket", "RuntimeDirectory", "/run"),
        ("--access-log", "LogsDirectory", "/var/log"),
    ):
        path = command()[command().index(flag) + 1]
        assert Path(path).parent == Path(above) / service[setting][0]
    assert f"{Path(command()[command().index('--access-log') + 1]).parent}/*.log" in edited("logrotate", {})


# --- a server that is started as the unit says -------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as made:
        yield made


@pytest.fixture
def web(manager: ServiceManager, tmp_path: Path) -> Path:
    """The socket of prefork.socket, which the service manager has opened."""
    place = tmp_path / "web.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place))
    listening.listen()
    manager.kept[unit("prefork.socket")["FileDescriptorName"][0]] = [listening]
    return place


def arguments(directory: Path, *others: str) -> list[str]:
    """Those of the unit, with its files in this directory, and these options besides."""
    _, serve, _, *rest = command()
    assert serve == "serve"
    words = [word.replace("/run/prefork", str(directory)) for word in rest]
    return [APPLICATION, *(word.replace("/var/log/shop", str(directory)) for word in words), *others]


def start(manager: ServiceManager, directory: Path) -> Server:
    (watchdog_s,) = unit("prefork.service")["WatchdogSec"]
    return manager.start(*arguments(directory), WATCHDOG_USEC=f"{int(watchdog_s) * 1_000_000}")


def ask(place: Path) -> int:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(place))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return read_response(sock)[0]


def test_the_command_of_the_service_serves_the_socket_and_says_so(
    manager: ServiceManager, web: Path, tmp_path: Path
) -> None:
    server = start(manager, tmp_path)
    manager.wait("READY")
    assert ask(web) == 200
    # The first sign of life comes at once: systemd counts from READY on.
    manager.wait("WATCHDOG")
    assert run_prefork("status", "--glue", str(server.wait_serving().glue)).returncode == 0
    assert (tmp_path / "control.sock").is_socket()
    assert server.stop() == 0
    assert manager.heard("STOPPING") == ["1"]
    assert web.is_socket()
    assert len((tmp_path / "access.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("how", ["systemctl reload", "prefork reload"])
def test_a_reload_is_told(manager: ServiceManager, web: Path, tmp_path: Path, how: str) -> None:
    server = start(manager, tmp_path)
    manager.wait("READY")
    before = set(server.wait_serving().workers())
    if how == "systemctl reload":
        server.signal(signal.SIGHUP)  # ReloadSignal=, by default
    else:
        done(server, "reload")
    manager.wait("RELOADING")
    manager.wait("READY", 2)
    told = [name for one in manager.messages for name in ("READY", "RELOADING") if name in one]
    assert told == ["READY", "RELOADING", "READY"]
    (reloading,) = (one for one in manager.messages if "RELOADING" in one)
    assert "MONOTONIC_USEC" in reloading
    assert not before & set(server.workers("spare", "active"))
    assert ask(web) == 200


def test_clients_wait_while_the_service_starts_again(
    manager: ServiceManager, web: Path, tmp_path: Path
) -> None:
    server = start(manager, tmp_path)
    manager.wait("READY")
    for count in (2, 3):
        assert server.stop() == 0
        with socket.socket(socket.AF_UNIX) as early:
            early.settimeout(DEADLINE_S)
            early.connect(str(web))
            early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            server = start(manager, tmp_path)
            assert read_response(early)[0] == 200
        manager.wait("READY", count)


def test_a_wrong_option_is_not_tried_again(manager: ServiceManager, web: Path, tmp_path: Path) -> None:
    assert web.is_socket()
    server = manager.start(*arguments(tmp_path), PREFORK_MAX_CLIENTS="many")
    assert str(server.wait()) in unit("prefork.service")["RestartPreventExitStatus"]
    assert "PREFORK_MAX_CLIENTS" in server.log


# --- system calls ------------------------------------------------------------------------------------------


def members(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The system calls of a group such as @system-service, with those of the groups in it; or the one."""
    if not name.startswith("@"):
        return {name}
    found: set[str] = set()
    for line in analyze("syscall-filter", name).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@") and word not in seen:
            found |= members(word, seen | {name})
        elif word and not word.startswith(("#", "@")):
            found.add(word)
    return found


def refused() -> set[str]:
    """The system calls that SystemCallFilter= refuses."""
    allowed: set[str] = set()
    for value in unit("prefork.service")["SystemCallFilter"]:
        groups = set().union(*(members(group) for group in value.removeprefix("~").split()))
        allowed = allowed - groups if value.startswith("~") else allowed | groups
    return members("@known") - allowed


@needs("systemd-analyze")
@needs("strace")
@pytest.mark.timeout(180)  # with a tracer a start takes seconds
@pytest.mark.parametrize("more", [(), ("--sandbox", "on")], ids=["plain", "sandbox"])
def test_the_server_makes_no_system_call_that_is_refused(tmp_path: Path, more: tuple[str, ...]) -> None:
    calls = refused()
    assert {"mount", "ptrace", "reboot", "setuid"} <= calls
    assert "accept4" not in calls
    output, place = tmp_path / "calls", tmp_path / "web.sock"
    trace = ["strace", "-f", "-qqq", "--seccomp-bpf", "-e", "signal=none", "-o", str(output)]
    words = arguments(tmp_path, *more)
    words[words.index("systemd:web")] = f"unix:{place}"
    server = Server(
        subprocess.Popen(
            [*trace, "-e", "trace=" + ",".join(f"?{call}" for call in sorted(calls)), *PREFORK, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    try:
        server.wait_serving()
        assert ask(place) == 200
        done(server, "reload")
        assert ask(place) == 200
        done(server, "stop")
        assert server.wait() == 0
    finally:
        server.kill()
    assert output.read_text() == ""


@needs("strace")
def test_a_system_call_that_is_traced_is_seen(tmp_path: Path) -> None:
    output = tmp_path / "calls"
    trace = ["strace", "-f", "-qqq", "--seccomp-bpf", "-e", "signal=none", "-o", str(output)]
    child = "import os; os.fork() or os.chroot('/')"
    subprocess.run([*trace, "-e", "trace=?chroot,?nothing", sys.executable, "-c", child], check=False)
    wait_until(lambda: "chroot(" in output.read_text(), "the call")


def test_the_page_has_what_older_versions_need() -> None:
    page = (DEPLOY.parent / "docs" / "deployment.md").read_text()
    assert f"[Service]\nType=notify\nExecReload={command()[0]} reload\n" in page
