"""`prefork serve` finds an application, tells what it is, and serves it from the pool."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from support.server import Serve, Server, run_prefork, running, start_program, start_server, write_app
from support.waiting import wait_until

WSGI = """
    import os

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']} from {os.getpid()}".encode()]
"""
ASGI = """
    import os

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = f"{scope['root_path']}|{scope['path']} from {os.getpid()}".encode()
        await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("source", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("options", [("--workers", "2"), ("--start", "0")], ids=["pool", "alone"])
def test_an_application_is_served(serve: Serve, source: str, options: tuple[str, ...]) -> None:
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
    serve: Serve, source: str, path: str, seen: str
) -> None:
    server = serve(source, "--workers", "1", "--root-path", "/shop")
    assert server.get(path).decode().startswith(f"{seen} from")


def test_a_factory_is_called(tmp_path: Path) -> None:
    source = "def create():" + textwrap.indent(textwrap.dedent(WSGI), "    ") + "\n    return app\n"
    path = tmp_path / "made.py"
    path.write_text(source)
    server = start_server(f"{path}:create", "--factory", "--bind", "127.0.0.1:0", "--workers", "1")
    try:
        server.wait_serving()
        assert server.get("/").startswith(b"|/ from")
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("source", "name", "options", "complaint"),
    [
        (
            WSGI,
            "",
            ("--interface", "events"),
            "looks like WSGI; --interface events expects a Kernel or a server",
        ),
        (ASGI, "", ("--threads", "4"), "app.py (ASGI application)"),
        (ASGI, "", ("--hostname", "shop.example"), "--hostname means nothing to"),
        (ASGI, "", ("--spool-above", "1m"), "--spool-above means nothing to"),
        (ASGI, "", ("--spool-dir", "/tmp"), "app.py (ASGI application)"),
        (WSGI, ":ap", (), "has no 'ap'; did you mean 'app'?"),
        ("def create(): return 42", ":create", ("--factory",), "which cannot be called"),
        ("def create(): return 42", ":create", (), "say --factory"),
        ("app = 42", "", (), "app.py is of type int, which cannot be called"),
        (WSGI, "", ("--interface", "asgi"), "is app(environ, start_response); --interface asgi expects"),
        (WSGI, "", ("--factory",), "is app(environ, start_response); --factory expects a function without"),
        ("async def create(): ...", ":create", ("--factory",), "create is a coroutine function; --factory"),
        ("def create(): ...", ":create", ("--factory",), "app.py:create() is of type NoneType, which"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, source: str, name: str, options: tuple[str, ...], complaint: str
) -> None:
    path = write_app(tmp_path, source)
    finished = run_prefork("serve", f"{path}{name}", *options)
    assert finished.returncode == 2
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_program_runs_an_application_itself(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    source = textwrap.dedent(WSGI) + textwrap.dedent(
        """
        if __name__ == "__main__":
            import prefork

            prefork.run(app, bind="127.0.0.1:0", workers=1)
        """
    )
    path.write_text(source)
    server = Server(start_program(str(path)))
    try:
        server.wait_serving()
        assert server.get("/").startswith(b"|/ from")
        assert server.stop() == 0
    finally:
        server.kill()


TALKING = """
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise ValueError(f"no {scope['type']} here")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close" if scope["path"] == "/refused" else "websocket.accept"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await send({"type": "http.response.body", "body": b"12345"})
"""


def test_the_access_log_has_a_line_for_each_kind_of_answer(serve: Serve, tmp_path: Path) -> None:
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

    def told() -> list[str]:
        return re.findall(r'"(\w+ \S+) HTTP/1.1" (\d+ \S+) ', log.read_text())

    wait_until(lambda: len(told()) == 8, "a line for each")
    assert [" ".join(line) for line in told()] == [
        "GET /whole 200 5",
        "GET /stream 200 -",
        "GET /files/a.txt 200 10",
        "GET /files/none 404 13",
        "HEAD /whole 200 -",
        "GET /files/a.txt 206 3",
        "GET /chat 101 -",
        "GET /refused 403 0",
    ]


UNSPEAKABLE = """
    class Unspeakable(Exception):
        def __repr__(self):
            raise ValueError("it has no words for itself")

    def app(environ, start_response):
        raise Unspeakable

    async def api(scope, receive, send):
        raise Unspeakable
"""


@pytest.mark.parametrize(
    ("name", "options", "owed"),
    [
        ("app", (), "call start_response and return an iterable of bytes"),
        ("app", ("--threads", "2"), "call start_response and return an iterable of bytes"),
        ("api", ("--lifespan", "off"), "send http.response.start and http.response.body until more_body is"),
    ],
    ids=["wsgi", "threads", "asgi"],
)
def test_a_response_that_is_dropped_unanswered_is_a_500_that_names_the_application(
    tmp_path: Path, name: str, options: tuple[str, ...], owed: str
) -> None:
    path = write_app(tmp_path, UNSPEAKABLE)
    with running(f"{path}:{name}", "--bind", "127.0.0.1:0", "--workers", "1", *options) as server:
        for _ in range(3):
            assert server.request("/")[0] == 500
        server.wait_log(f"application {name} dropped its response unanswered; it must {owed}")


def test_what_an_application_prints_is_seen(serve: Serve) -> None:
    source = """
        import sys

        def app(environ, start_response):
            print("on standard output")
            print("on wsgi.errors", file=environ["wsgi.errors"])
            start_response("204 No Content", [])
            return []
    """
    server = serve(source, "--workers", "1")
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


def test_a_setting_that_means_nothing_is_refused_wherever_it_was_said(tmp_path: Path) -> None:
    path, config = write_app(tmp_path, ASGI), tmp_path / "settings.toml"
    config.write_text('hostname = "shop.example"\n')
    for name, arguments, env in (
        (f"{config}: hostname", ("--config", str(config)), {}),
        ("PREFORK_SPOOL_ABOVE", (), {"PREFORK_SPOOL_ABOVE": "1m"}),
    ):
        finished = run_prefork("serve", str(path), *arguments, env=env)
        assert finished.returncode == 2
        assert finished.stderr == f"prefork: {name} means nothing to {path} (ASGI application)\n"


def test_a_class_is_an_application_if_its_instances_answer(serve: Serve) -> None:
    source = """
        class Page:
            def __init__(self, environ, start_response):
                start_response("200 OK", [])
                self.path = environ["PATH_INFO"]

            def __iter__(self):
                yield self.path.encode()
    """
    assert serve(source + "\n        app = Page\n", "--workers", "1").get("/page") == b"/page"
    source = """
        from starlette.endpoints import HTTPEndpoint
        from starlette.responses import PlainTextResponse

        class app(HTTPEndpoint):
            async def get(self, request):
                return PlainTextResponse(request.url.path)
    """
    assert serve(source, "--workers", "1").get("/end") == b"/end"
