"""`prefork check`: what `prefork serve` would refuse, without serving."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from support.certificates import Authority, save
from support.server import Finished, run_prefork, write_app

WSGI = "def app(environ, start_response): ...\n"
ASGI = "async def app(scope, receive, send): ...\n"
PROGRAM = """\
import prefork
kernel = prefork.Kernel()
prefork.PreForkServer(kernel, port=8123, start_servers=3)
kernel.run()
raise SystemExit("it has run")
"""


def check(directory: Path, *arguments: str, **env: str) -> Finished:
    return run_prefork("check", *arguments, cwd=directory, env=env)


@pytest.mark.parametrize(
    ("source", "flags", "line"),
    [
        (WSGI, ("--workers", "1"), "app.py can be served: WSGI application, 1 worker, 127.0.0.1:8000"),
        (
            ASGI,
            ("-b", ":81", "-b", "unix:@x"),
            "app.py can be served: ASGI application, 10 workers, :81 and unix:@x",
        ),
        (WSGI, ("--start", "0"), "app.py can be served: WSGI application, no pool, 127.0.0.1:8000"),
        (PROGRAM, (), "app.py can be served: server of events, 3 workers, :8123"),
    ],
)
def test_what_can_be_served_is_one_line(
    tmp_path: Path, source: str, flags: tuple[str, ...], line: str
) -> None:
    write_app(tmp_path, source)
    finished = check(tmp_path, "app.py", *flags)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"prefork: {line}\n"


def test_nothing_is_opened_or_written(tmp_path: Path) -> None:
    write_app(tmp_path, WSGI)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        files = ("--pid-file", "pid", "--access-log", "access.log", "--control-socket", "control")
        finished = check(tmp_path, "app.py", "--bind", f"127.0.0.1:{port}", *files)
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"app.py"}


def test_a_certificate_and_its_key_are_read(tmp_path: Path) -> None:
    write_app(tmp_path, WSGI)
    files = save(tmp_path, *Authority().issue("localhost"))
    assert check(tmp_path, "app.py", *files.flags).returncode == 0
    files.key.write_text("no key")
    finished = check(tmp_path, "app.py", *files.flags)
    assert finished.returncode == 2
    assert str(files.key) in finished.stderr


def test_threads_of_the_application_do_not_keep_it(tmp_path: Path) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    write_app(tmp_path, source + WSGI)
    finished = check(tmp_path, "app.py")
    assert finished.returncode == 0
    assert "can be served" in finished.stdout


FAULTS = [
    ("import nothing_there\n", (), "app.py could not be loaded"),
    ("def app(:\n", (), "app.py:1: invalid syntax"),
    ("x = 1\n", (), "app.py has nothing to serve"),
    ("import sys\nsys.exit(0)\n", (), "it ended while it was loaded: SystemExit: 0"),
    ("import sys\nsys.exit(0)\n", ("--start", "0"), "it ended while it was loaded: SystemExit: 0"),
    (WSGI, ("--lifespan", "on"), "--lifespan does not apply to app.py (WSGI application)"),
    (WSGI, ("--max-body", "x"), "--max-body: expected bytes"),
    (WSGI, ("--tls-cert", "none.pem"), "none.pem"),
    (WSGI, ("--worker-start", "nothing.there:f"), "worker_start"),
    (WSGI, ("--mold-ready", "app:nothing"), "mold_ready"),
    (WSGI, ("--log-config", "none.toml"), "log_config"),
    (WSGI, ("--access-log", "none/log"), "cannot be written: No such file or directory"),
    (WSGI, ("--access-log-format", "%(nothing"), "--access-log-format"),
    (WSGI, ("--pid-file", "none/pid"), "pid file"),
    (WSGI, ("--static", "/x=none"), "--static: expected"),
    (WSGI, ("--refork-after", "5", "--no-preload"), "refork_after needs the application"),
    (WSGI, ("--sandbox", "on", "--sandbox-write", "none"), "sandbox_write: there is no"),
    (
        WSGI,
        ("--admin", "0.0.0.0:9900"),
        "admin: other machines may reach 0.0.0.0:9900, so it needs admin_token",
    ),
    (WSGI, ("--admin", "127.0.0.1:9900", "--admin-token-file", "none"), "admin_token_file"),
    (WSGI, ("--user", "no-such-user-here"), "--user: expected the name or the id of a user"),
    (WSGI, ("--profile", "dev"), "--profile: there is no file"),
]


@pytest.mark.parametrize(("source", "flags", "message"), FAULTS, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_told_as_by_serve(
    tmp_path: Path, source: str, flags: tuple[str, ...], message: str
) -> None:
    write_app(tmp_path, source)
    finished = check(tmp_path, "app.py", *flags)
    served = run_prefork("serve", "app.py", "--bind", "127.0.0.1:0", *flags, cwd=tmp_path)
    assert finished.stdout == ""
    assert finished.returncode == served.returncode == 2
    assert message in finished.stderr.splitlines()[-1]
    assert served.stderr.splitlines()[-1].startswith(finished.stderr.splitlines()[-1])


def test_the_variables_of_platforms_and_proxies_are_checked(tmp_path: Path) -> None:
    write_app(tmp_path, WSGI)
    assert "PORT: expected" in check(tmp_path, "app.py", PORT="x").stderr
    assert "FORWARDED_ALLOW_IPS: expected" in check(tmp_path, "app.py", FORWARDED_ALLOW_IPS="x").stderr
