"""The programs in README.md run as they stand there."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from support.server import Serve, Server, start_program
from support.waiting import wait_until

README = Path(__file__).parents[2] / "README.md"


def program(name: str) -> str:
    """The block of Python code that begins with this file name."""
    (found,) = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", README.read_text(), re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("hello.py", "/", b"Hello, world!\n"),
        ("chat.py", "/hello/you", b'{"hello":"you"}'),
        ("greeter.py", "/hello/you", b"Hello, you!\n"),
        ("pages.py", "/bar/1", b"Hi, you fetched http://127.0.0.1:"),
    ],
)
def test_it_is_served(serve: Serve, name: str, path: str, body: bytes) -> None:
    server = serve(program(name), "--workers", "1")
    assert server.get(path).startswith(body)
    assert server.stop() == 0


@pytest.mark.parametrize(("name", "path"), [("greeter.py", "/hello/you"), ("pages.py", "/bar/1")])
def test_it_runs_by_itself(tmp_path: Path, name: str, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / name).write_text(program(name).replace("port=8000", f"port={port}"))
    server = Server(start_program(str(tmp_path / name)))
    try:
        server.host, server.port, server.url = "127.0.0.1", port, f"http://127.0.0.1:{port}"

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((server.host, port)) == 0

        wait_until(listens, "the port")
        assert b"you" in server.get(path)
        assert server.stop() == 0
    finally:
        server.kill()
