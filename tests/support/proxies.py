"""Real proxies in front of a server, each with the configuration that a test gives."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from support import tls
from support.waiting import wait_until

SBIN = "/usr/sbin:/usr/local/sbin"
NGINX = shutil.which("nginx") or shutil.which("nginx", path=SBIN)
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path=SBIN)
CADDY = shutil.which("caddy") or shutil.which("caddy", path=SBIN)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="needs nginx")
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="needs caddy")

NGINX_HEAD = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/nginx.log info; {user}
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
"""

HAPROXY_HEAD = """
defaults
    timeout connect 20s
    timeout client 20s
    timeout server 20s
"""

CADDY_HEAD = """
{
    admin off
    auto_https disable_redirects
    skip_install_trust
    storage file_system {here}/caddy
}
"""

Run: TypeAlias = Callable[[str], int]
"""Starts a proxy with a configuration, in which `{port}` and the like are filled in. Returns the port."""


def free_port() -> int:
    """A port that nothing listens on, and that no connection and no other test comes to have: it is below
    those that the system gives (ip_local_port_range), and each process has its own part of them.
    """
    while True:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _own_ports() -> Iterator[int]:
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
    ports = range(20_000 + 1000 * process, 21_000 + 1000 * process)
    begin = random.randrange(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_ports = _own_ports()


def run_nginx(here: Path) -> Iterator[Run]:
    """The configuration is what belongs into `http`."""
    user = "user root;" if os.geteuid() == 0 else ""  # the directory is ours alone
    head = NGINX_HEAD.format(here=here, user=user)
    yield from _running([str(NGINX), "-e", f"{here}/nginx.log", "-c"], here / "nginx.conf", head, "}")


def run_haproxy(here: Path) -> Iterator[Run]:
    yield from _running([str(HAPROXY), "-db", "-f"], here / "haproxy.cfg", HAPROXY_HEAD, "")


def run_caddy(here: Path) -> Iterator[Run]:
    head = CADDY_HEAD.replace("{here}", str(here))
    command = [str(CADDY), "run", "--adapter", "caddyfile", "--config"]
    yield from _running(command, here / "Caddyfile", head, "", XDG_CONFIG_HOME=str(here))


def run_configured(command: list[str], file: Path, **environ: str) -> Iterator[Run]:
    """The configuration is all that the program reads."""
    yield from _running(command, file, "", "", **environ)


def _running(command: list[str], file: Path, head: str, end: str, **environ: str) -> Iterator[Run]:
    started: list[subprocess.Popen[bytes]] = []
    env = os.environ | environ
    both = file.with_name("both.pem")
    both.write_bytes(tls.CERT.read_bytes() + tls.KEY.read_bytes())

    def begin(configuration: str) -> int:
        port = free_port()
        filled = configuration.replace("{port}", str(port)).replace("{both}", str(both))
        filled = filled.replace("{cert}", str(tls.CERT)).replace("{key}", str(tls.KEY))
        file.write_text(f"{head}{filled}\n{end}\n")
        log = file.with_suffix(".out")
        with log.open("wb") as output:
            process = subprocess.Popen([*command, str(file)], stdout=output, stderr=output, env=env)
        started.append(process)

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, file.name)
        return port

    try:
        yield begin
    finally:
        for process in started:
            process.terminate()
            process.wait()
