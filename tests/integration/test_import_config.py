"""`prefork import-config`, and a server with what it has written."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import tls
from support.server import Finished, Server, run_prefork, start_server

APP = """
import os

print("loaded")


def application(environ, start_response):
    text = f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']} {os.getuid()} {environ['SCRIPT_NAME']}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


async def api(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has the application, and is where everything runs."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def convert(folder: Path, *arguments: str, **variables: str) -> Finished:
    return run_prefork("import-config", *arguments, cwd=folder, env=variables)


Begin = Callable[[Path], Server]


@pytest.fixture
def begin() -> Iterator[Callable[..., Server]]:
    """`begin(folder)` runs the command that `prefork.toml` in it says."""
    servers: list[Server] = []

    def start(folder: Path) -> Server:
        text = (folder / "prefork.toml").read_text()
        command = re.search(r"^#   prefork serve (.+)$", text, re.MULTILINE)
        assert command, text
        server = start_server(*shlex.split(command[1]), cwd=folder)
        servers.append(server)
        return server.wait_serving()

    yield start
    for server in servers:
        server.kill()


def test_a_configuration_of_gunicorn_serves(folder: Path, begin: Begin) -> None:
    (folder / "gunicorn.conf.py").write_text(
        f"""
import multiprocessing

bind = ["127.0.0.1:0", "unix:{folder}/shop.sock"]
workers = min(multiprocessing.cpu_count() * 2 + 1, 2)
threads = 2
timeout = 20
graceful_timeout = 5
keepalive = 3
max_requests = 1000
max_requests_jitter = 50
accesslog = "access.log"
access_log_format = '%(h)s "%(r)s" %(s)s %({{x-request-id}}i)s'
loglevel = "info"
pidfile = "shop.pid"
proc_name = "shop {os.getpid()}"
limit_request_line = 8190
forwarded_allow_ips = "127.0.0.1"
raw_env = ["KEY=swordfish"]
preload_app = True


def post_fork(server, worker):
    server.log.info("worker %s", worker.pid)


def child_exit(server, worker):
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
"""
    )
    done = convert(folder, "--output", "prefork.toml", "gunicorn", "shop")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "not possible: post_fork = post_fork (line 23): worker_start is called" in done.stderr
    assert "swordfish" not in done.stderr + (folder / "prefork.toml").read_text()
    options = tomllib.loads((folder / "prefork.toml").read_text())["prefork"]
    assert options.pop("worker_died") == "prometheus_client.multiprocess:mark_process_dead"
    (folder / "metrics").mkdir()
    server = begin(folder)
    status, _, body = server.request(
        "/", headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    )
    assert (status, body.decode()) == (200, f"https 192.0.2.7 {os.getuid()} ")
    assert (folder / "shop.sock").is_socket()
    assert (folder / "shop.pid").read_text().strip() == str(server.pid)
    assert server.stop() == 0
    assert '192.0.2.7 "GET / HTTP/1.1" 200 -' in (folder / "access.log").read_text()


def test_tls_of_gunicorn_serves(folder: Path, begin: Begin) -> None:
    done = convert(
        folder,
        *("-o", "prefork.toml", "--", "gunicorn", "shop:application", "-b", "127.0.0.1:0"),
        *("--certfile", str(tls.CERT), "--keyfile", str(tls.KEY), "--cert-reqs", "0"),
        GUNICORN_CMD_ARGS="--ca-certs " + str(tls.CERT),
    )
    assert done.returncode == 0, done.stderr
    server = begin(folder)
    assert server.get("/").startswith(b"https 127.0.0.1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_gunicorn_serves(folder: Path, begin: Begin) -> None:
    folder.chmod(0o755)
    (folder / "gunicorn.conf.py").write_text(
        "user = 12345\ngroup = '23456'\numask = 0o027\nbind = '127.0.0.1:0'\n"
    )
    done = convert(folder, "-o", "prefork.toml", "gunicorn", "shop", "-e", "SCRIPT_NAME=/a")
    assert done.returncode == 0, done.stderr
    assert begin(folder).get("/a/") == b"http 127.0.0.1 12345 /a"


def test_a_command_line_of_gunicorn_with_uvicorn_serves(folder: Path, begin: Begin) -> None:
    done = convert(
        folder,
        "--",
        "gunicorn",
        "shop:api",
        "-w",
        "2",
        "-k",
        "uvicorn.workers.UvicornWorker",
        "-b",
        "127.0.0.1:0",
    )
    assert done.returncode == 0, done.stderr
    (folder / "prefork.toml").write_text(done.stdout)
    assert begin(folder).get("/") == b"127.0.0.1"


def test_a_command_line_of_uvicorn_serves(folder: Path, begin: Begin) -> None:
    (folder / ".env").write_text("PREFORK_ACCESS_LOG_FORMAT=common\n")
    command = (
        "uvicorn shop:api --env-file .env --port 0 --proxy-headers --ws-max-size 1000 --no-server-header"
    )
    done = convert(folder, "python", "-m", *command.split())
    assert done.returncode == 0, done.stderr
    (folder / "prefork.toml").write_text(done.stdout)
    server = begin(folder)
    assert server.get("/") == b"127.0.0.1"
    server.stop()
    assert any(line.endswith('"GET / HTTP/1.1" 200 9') for line in server.out), server.out


def test_a_file_of_uwsgi_serves(folder: Path, begin: Begin) -> None:
    (folder / "uwsgi.ini").write_text(
        "[uwsgi]\nbase = %d\nchdir = %(base)\nmodule = shop:application\nmaster = true\nprocesses = 4\n"
        "cheaper = 2\nthreads = 2\n"
        "socket = %(base)/shop.sock\nchmod-socket = 660\nvacuum = true\nharakiri = 30\n"
        "http-socket = 127.0.0.1:0\nstatic-map = /static=%d\nbuffer-size = 8192\ndie-on-term = true\n"
        "disable-logging = true\nhome = /srv/venv\n"
    )
    done = convert(folder, "uwsgi.ini", "-o", "prefork.toml")
    assert done.returncode == 0, done.stderr
    assert "start the program of that virtual environment: /srv/venv/bin/prefork" in done.stderr
    server = begin(folder)
    assert server.get("/").startswith(b"http 127.0.0.1")
    assert b"wsgi.url_scheme" in server.get("/static/shop.py")
    assert (folder / "shop.sock").stat().st_mode & 0o777 == 0o660


def test_a_file_is_not_overwritten_unless_asked(folder: Path) -> None:
    (folder / "prefork.toml").write_text("mine")
    (folder / "gunicorn.conf.py").write_text("workers = 2\n")
    done = convert(folder, "gunicorn.conf.py", "--output", "prefork.toml")
    assert (done.returncode, done.stderr) == (
        2,
        "prefork: prefork.toml is there already; --force overwrites it\n",
    )
    assert (folder / "prefork.toml").read_text() == "mine"
    assert convert(folder, "gunicorn.conf.py", "--output", "prefork.toml", "--force").returncode == 0
    assert "workers = 2" in (folder / "prefork.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gunicorn.conf.py"], "gunicorn.conf.py, line 2: NameError: name 'cpus' is not defined"),
        (["gunicorn", "shop", "--wrkers", "3"], "gunicorn: unrecognized arguments: --wrkers 3"),
        (["nothing.ini"], "nothing.ini is not there; expected gunicorn.conf.py"),
        (["shop.toml"], "shop.toml is TOML already"),
        (["paste.ini"], "paste.ini has no section [uwsgi]"),
        (["-o", "no/such/folder", "--", "uvicorn", "a:b"], "no/such/folder cannot be written: No such file"),
        (["waitress-serve", "shop:app"], "expected gunicorn.conf.py, an INI file of uWSGI"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "gunicorn.conf.py").write_text("x = 1\nworkers = cpus\n")
    (folder / "shop.toml").write_text("")
    (folder / "paste.ini").write_text("[app:main]\n")
    done = convert(folder, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prefork: {message}")


def test_neither_gunicorn_nor_uvicorn_is_needed(folder: Path) -> None:
    hidden = folder / "sitecustomize.py"
    hidden.write_text("import sys\nsys.modules['gunicorn'] = sys.modules['uvicorn'] = None\n")
    path = os.pathsep.join([str(folder), *sys.path])
    for command in ("gunicorn shop -w 3", "uvicorn shop:api --workers 3"):
        done = convert(folder, *command.split(), PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        assert tomllib.loads(done.stdout)["prefork"]["workers"] == 3


def test_what_may_be_secret_is_nowhere(folder: Path) -> None:
    for command in (
        "gunicorn shop -e KEY=swordfish",
        "uvicorn shop:api --ssl-certfile c --ssl-keyfile-password swordfish --header Authorization:swordfish",
        "uwsgi -w shop --env KEY=swordfish",
    ):
        done = convert(folder, *command.split())
        assert done.returncode == 0, done.stderr
        assert "swordfish" not in done.stdout + done.stderr


def test_a_command_line_in_quotes_is_the_same_as_without(folder: Path) -> None:
    command = "gunicorn -w 4 shop:app"
    quoted, plain = convert(folder, command), convert(folder, *command.split())
    assert quoted.returncode == 0
    assert "workers = 4" in quoted.stdout
    assert quoted.stdout == plain.stdout
    broken = convert(folder, "gunicorn 'x")
    assert broken.returncode == 2
    assert broken.stderr.startswith("prefork: gunicorn 'x is not there; expected gunicorn.conf.py")


def test_the_application_of_a_configuration_file_is_accounted_for(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text('wsgi_app = "shop:app"\nworkers = 2\n')
    done = convert(folder, "gunicorn.conf.py")
    assert "#   prefork serve shop:app" in done.stdout
    assert '#   wsgi_app = "shop:app": it is the TARGET of' in done.stdout
    assert "2 settings of gunicorn: 1 taken over, 0 converted, 1 not needed" in done.stderr
