"""`prefork serve` finds an application and its interface, and serves it from the pool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.apps import APPS
from support.server import Serve, Server, run_prefork, running, start_program, write_app
from support.waiting import wait_until

WSGI = APPS / "wsgi_mounted.py"
ASGI = APPS / "asgi_mounted.py"


@pytest.mark.parametrize("source", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("options", [("--workers", "2"), ("--start", "0")], ids=["pool", "alone"])
def test_an_application_is_served(serve: Serve, source: Path, options: tuple[str, ...]) -> None:
    server = serve(source, *options)
    body, _, pid = server.get("/some/where").decode().partition(" from ")
    assert body == "|/some/where"
    assert (int(pid) == server.pid) == (options[0] == "--start")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("source", "path", "seen"),
    [
        (WSGI, "/shop/cart", "/shop|/cart"),
        (WSGI, "/shop", "/shop|"),
        (WSGI, "/shopping", "/shop|/shopping"),
        (ASGI, "/shop/cart", "/shop|/shop/cart"),
        (ASGI, "/cart", "/shop|/shop/cart"),
        (ASGI, "/shopping", "/shop|/shop/shopping"),
    ],
)
def test_a_root_path_is_taken_off_for_wsgi_and_always_there_for_asgi(
    serve: Serve, source: Path, path: str, seen: str
) -> None:
    server = serve(source, "--workers", "1", "--root-path", "/shop")
    assert server.get(path).decode().startswith(f"{seen} from")


def test_a_factory_is_called() -> None:
    with running(f"{WSGI}:create", "--factory", "--bind", "127.0.0.1:0", "--workers", "1") as server:
        assert server.get("/").startswith(b"|/ from")


@pytest.mark.parametrize(
    ("source", "name", "options", "complaint"),
    [
        (
            WSGI,
            "",
            ("--interface", "events"),
            "looks like WSGI; --interface events expects a Kernel or a server",
        ),
        (ASGI, "", ("--threads", "4"), "asgi_mounted.py (ASGI application)"),
        (ASGI, "", ("--hostname", "shop.example"), "--hostname does not apply to"),
        (ASGI, "", ("--spool-above", "1m"), "--spool-above does not apply to"),
        (ASGI, "", ("--spool-dir", "/tmp"), "asgi_mounted.py (ASGI application)"),
        (WSGI, ":ap", (), "has no 'ap'; did you mean "),
        ("def create(): return 42", ":create", ("--factory",), "which cannot be called"),
        ("def create(): return 42", ":create", (), "use --factory"),
        ("app = 42", "", (), "app.py is of type int, which cannot be called"),
        (WSGI, "", ("--interface", "asgi"), "is app(environ, start_response); --interface asgi expects"),
        (WSGI, "", ("--factory",), "is app(environ, start_response); --factory expects a function without"),
        ("async def create(): ...", ":create", ("--factory",), "create is a coroutine function; --factory"),
        ("def create(): ...", ":create", ("--factory",), "app.py:create() is of type NoneType, which"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, source: Path | str, name: str, options: tuple[str, ...], complaint: str
) -> None:
    path = source if isinstance(source, Path) else write_app(tmp_path, source)
    finished = run_prefork("serve", f"{path}{name}", *options)
    assert finished.returncode == 2
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_program_runs_an_application_itself() -> None:
    server = Server(start_program(str(WSGI)))
    try:
        server.wait_serving()
        assert server.get("/").startswith(b"|/ from")
        assert server.stop() == 0
    finally:
        server.kill()


TALKING = APPS / "asgi_kinds.py"


def test_the_access_log_has_a_line_for_each_kind_of_response(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0123456789")
    log = tmp_path / "access.log"
    server = serve(TALKING, "--workers", "1", "--access-log", str(log), "--static", f"/files={tmp_path}")
    for path in ("/whole", "/stream", "/files/a.txt", "/files/none"):
        server.request(path)
    server.request("/whole", "HEAD")
    server.request("/files/a.txt", headers={"Range": "bytes=2-4"})
    asked = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    for path in ("/chat", "/refused"):
        with server.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\n{asked}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 ")

    def reported() -> list[str]:
        return re.findall(r'"(\w+ \S+) HTTP/1.1" (\d+ \S+) ', log.read_text())

    wait_until(lambda: len(reported()) == 8, "a line for each")
    assert [" ".join(line) for line in reported()] == [
        "GET /whole 200 5",
        "GET /stream 200 10",
        "GET /files/a.txt 200 10",
        "GET /files/none 404 13",
        "HEAD /whole 200 -",
        "GET /files/a.txt 206 3",
        "GET /chat 101 -",
        "GET /refused 403 -",
    ]


UNSPEAKABLE = APPS / "unspeakable.py"


@pytest.mark.parametrize(
    ("name", "options"),
    [("app", ()), ("app", ("--threads", "2")), ("api", ())],
    ids=["wsgi", "threads", "asgi"],
)
def test_an_exception_that_cannot_be_printed_is_a_500_and_a_line(name: str, options: tuple[str, ...]) -> None:
    with running(f"{UNSPEAKABLE}:{name}", "--bind", "127.0.0.1:0", "--workers", "1", *options) as server:
        for _ in range(3):
            assert server.request("/")[0] == 500
        server.wait_log(f"application {name} failed on GET /: <Unspeakable: its repr() raises ValueError>")


def test_what_an_application_prints_is_seen(serve: Serve) -> None:
    server = serve(APPS / "wsgi_prints.py", "--workers", "1")
    server.request("/")
    server.wait_log("on wsgi.errors")
    wait_until(lambda: "on standard output" in server.out, "what was printed")


def test_settings_come_from_a_file_and_the_environment(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    lines = ("[prefork]", "workers = 1", 'root-path = "/shop"', f'static = {{"/files" = "{tmp_path}"}}')
    config.write_text("\n".join(lines))
    server = serve(WSGI, "--config", str(config), env={"PREFORK_ROOT_PATH": "/cart"})
    assert server.get("/cart/x").startswith(b"/cart|/x from")
    assert server.get("/files/settings.toml").startswith(b"[prefork]")


def test_an_option_that_does_not_apply_is_refused_from_every_source(tmp_path: Path) -> None:
    path, config = ASGI, tmp_path / "settings.toml"
    config.write_text('hostname = "shop.example"\n')
    for name, arguments, env in (
        (f"{config}:1: hostname", ("--config", str(config)), {}),
        ("PREFORK_SPOOL_ABOVE", (), {"PREFORK_SPOOL_ABOVE": "1m"}),
    ):
        finished = run_prefork("serve", str(path), *arguments, env=env)
        assert finished.returncode == 2
        assert finished.stderr == f"prefork: {name} does not apply to {path} (ASGI application)\n"


def test_a_class_is_an_application_if_its_instances_respond(serve: Serve) -> None:
    assert serve(APPS / "wsgi_class.py", "--workers", "1").get("/page") == b"/page"
    assert serve(APPS / "starlette_endpoint.py", "--workers", "1").get("/end") == b"/end"
