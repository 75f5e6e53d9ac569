"""`understudy serve` finds an application, tells what it is, and serves it from the pool."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import harness
from conftest import Serve

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
            raise NotImplementedError(scope["type"])
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
    server = harness.start(f"{path}:create", "--factory", "--bind", "127.0.0.1:0", "--workers", "1")
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
        (ASGI, "", ("--threads", "4"), "--threads means nothing to"),
        (WSGI, ":ap", (), "has no 'ap'; did you mean 'app'?"),
        ("def create(): return 42", ":create", ("--factory",), "which cannot be called"),
        ("def create(): return 42", ":create", (), "say --factory"),
        ("app = 42", "", (), "app.py is a int, which cannot be called"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, source: str, name: str, options: tuple[str, ...], complaint: str
) -> None:
    path = harness.write_app(tmp_path, source)
    finished = harness.run("serve", f"{path}{name}", *options)
    assert finished.returncode == 2
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_program_runs_an_application_itself(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    source = textwrap.dedent(WSGI) + textwrap.dedent(
        """
        if __name__ == "__main__":
            import understudy

            understudy.run(app, bind="127.0.0.1:0", workers=1)
        """
    )
    path.write_text(source)
    server = harness.Server(harness.start_program(str(path)))
    try:
        server.wait_serving()
        assert server.get("/").startswith(b"|/ from")
        assert server.stop() == 0
    finally:
        server.kill()
