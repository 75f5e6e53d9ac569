"""What docs/testing.md, flask.md, fastapi.md and django.md show is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import Server, start_program, start_server

DOCS = Path(__file__).parents[2] / "docs"


def write_files(page: str, directory: Path) -> list[str]:
    """Writes the blocks of Python, each of which begins with its file's name. Returns the names."""
    text = (DOCS / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = []
    for block in blocks:
        found = re.match(r"# (\w+\.py)\n", block)
        assert found, f"{page}: a block without the name of its file"
        (directory / found[1]).write_text(block)
        names.append(found[1])
    return names


def commands(page: str) -> list[str]:
    """The lines of its blocks of sh."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def run(*command: str, directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["testing.md", "flask.md", "fastapi.md"])
def test_its_tests_pass(page: str, tmp_path: Path) -> None:
    tests = [name for name in write_files(page, tmp_path) if name.startswith("test_")]
    assert tests
    text = run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests, directory=tmp_path)
    assert " passed" in text


def test_the_program_of_the_testing_page(tmp_path: Path) -> None:
    assert "client.py" in write_files("testing.md", tmp_path)
    assert run(sys.executable, "client.py", directory=tmp_path) == "Hello, world!\n"


@pytest.mark.parametrize(
    ("page", "path", "body"),
    [("flask.md", "/", b"Hello, world!\n"), ("fastapi.md", "/hello/you", b'{"hello":"Hello, you!"}')],
)
def test_its_commands_serve(page: str, path: str, body: bytes, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    found = commands(page)
    assert found
    for line in found:
        name, command, *arguments = shlex.split(line)
        assert (name, command) == ("prefork", "serve")
        server = start_server(*arguments, "--bind", "127.0.0.1:0", cwd=tmp_path)
        try:
            assert server.wait_serving().get(path) == body
        finally:
            server.kill()


def test_the_commands_of_the_django_page(tmp_path: Path) -> None:
    served = 0
    for line in commands("django.md"):
        write_files("django.md", tmp_path)
        if "manage.py serve" not in line:
            environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            subprocess.run(line, shell=True, cwd=tmp_path, env=environment, timeout=50, check=True)
            continue
        _, *arguments = shlex.split(line)
        server = Server(start_program(*arguments, "127.0.0.1:0", cwd=tmp_path))
        try:
            server.wait_serving()
            assert b"Django" in server.get("/admin/login/")
            assert b"{" in server.get("/static/admin/css/base.css")
            served += 1
        finally:
            server.kill()
    assert served == 2
