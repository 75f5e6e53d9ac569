"""The command in a process of its own: what a user sees of errors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner

import prefork as prefork_package
from prefork._engine import build_facts
from prefork.admin import version
from prefork.cli.main import commands

WriteApp: TypeAlias = Callable[[str], Path]

SERVER = "from prefork import HTTPServer, Kernel\nkernel = Kernel()\nserver = HTTPServer(kernel, port=0)\n"


def prefork(*args: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, since an error ends the process. It takes no port that
    another program may have.
    """
    return subprocess.run(
        [sys.executable, "-c", "from prefork.cli.main import main; main()", *args],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "PORT": "0", **variables},
        capture_output=True,
        text=True,
        timeout=30,
    )


def error(*args: str, cwd: Path, **variables: str) -> str:
    """The message of a command that fails."""
    done = prefork(*args, cwd=cwd, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("prefork: ")
    return line.removeprefix("prefork: ")


@pytest.fixture
def app(tmp_path: Path) -> WriteApp:
    """`app(source)` writes app.py. Returns its directory."""

    def write(content: str) -> Path:
        (tmp_path / "app.py").write_text(content)
        return tmp_path

    return write


def test_without_a_command_the_help_is_shown() -> None:
    shown = CliRunner().invoke(commands, [])
    assert shown.exit_code == 0
    assert "serve" in shown.output
    assert "status" in shown.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["serve"], "Missing argument 'TARGET'. (see prefork serve --help)"),
        (["serve", "gone.py"], "gone.py cannot be read: No such file or directory"),
        (["serve", "app.py", "--frob"], "(see prefork serve --help)"),
        (["serve", "app.py", "--port", "80"], "No such option '--port'; use --bind HOST:PORT (see"),
        (["status", "--jsn"], "No such option '--jsn'. Did you mean '--json'? (see"),
        (["serve", "app.py", "-t", "30"], "No such option '-t'; use --request-timeout (see"),
        (["serve", "app.py", "-kgevent"], "No such option '-k'; the interface is detected; for threads"),
        (
            ["serve", "app.py", "--ssl-keyfile=x"],
            "No such option '--ssl-keyfile'; use --tls-key",
        ),
        (["serve", "app.py", "-D", "--frob"], "No such option '-D'; use a service manager to run it"),
        (["serve", "app.py", "--keep-alive", "5"], "--keep-alive takes no value; use --keep-alive-time"),
        (["serve", "--keep-alive", "5", "app.py"], "takes no value; use --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "--keep-alive=5"], "takes no value; use --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "-b", "127.0.0.1"], "--bind: expected host:port, [IPv6]:port, a port, unix:"),
        (
            ["serve", "app.py", "--bind", "[::1]:80", "-b", "localhost:80,tsl"],
            "--bind: expected a setting of localhost:80 (tls, proxy, backlog, reuse_port, mode, "
            "umask, user, owner, group), got 'tsl'",
        ),
        (
            ["serve", "app.py", "--static", "/x=.", "--static", "foo"],
            "--static: expected /prefix=directory with an existing directory, got 'foo'",
        ),
        (["serve", "app.py", "--max-body", "x"], "--max-body: expected bytes"),
        (["serve", "app.py:sever"], "app.py has no 'sever'; did you mean app.py:server?"),
        (["serve", "app.py", "--workers", "3"], "--workers needs a PreForkServer; app.py has an HTTPServer"),
        (["serve", "app.py", "--pid-file", "no/such/file"], "cannot be written"),
        (["serve", "app.py", "--config", "gone.toml"], "gone.toml cannot be read"),
        (["frob"], "(see prefork --help)"),
        (["status", "--frob"], "(see prefork status --help)"),
    ],
)
def test_an_error_of_the_user_is_one_line(app: WriteApp, args: list[str], message: str) -> None:
    assert message in error(*args, cwd=app(SERVER))


def test_an_invalid_variable_is_reported_by_its_name(app: WriteApp) -> None:
    line = error("serve", "app.py", cwd=app(SERVER), PREFORK_MAX_CLIENTS="many")
    assert line == "PREFORK_MAX_CLIENTS: expected a whole number from 1 to 65535, or auto, got 'many'"


def test_options_for_several_servers_are_an_error_with_their_names(app: WriteApp) -> None:
    two = SERVER + 'HTTPServer(kernel, alias="ADMIN", port=0)\n'
    assert "several servers (ADMIN, HTTPD)" in error("serve", "app.py", "--debug", cwd=app(two))


def test_an_exception_of_the_user_shows_only_the_traceback_of_the_user(app: WriteApp) -> None:
    broken = app("def broken():\n    1 / 0\n\nbroken()\n")
    done = prefork("serve", "app.py", cwd=broken)
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "prefork: app.py could not be loaded" in done.stderr
    assert "main.py" not in done.stderr
    assert "importlib" not in done.stderr


def test_version(tmp_path: Path) -> None:
    done = prefork("--version", cwd=tmp_path)
    assert done.returncode == 0
    first, *others = done.stdout.splitlines()
    assert first == f"prefork {prefork_package.__version__}"
    assert [line.partition(": ")[0] for line in others] == ["commit", "engine", "features", "Python"]
    assert re.search(
        r"engine: \d\S+ \((?:debug|release), \w+-unknown-linux-\w+, Rust 1\.\d+\.\d+\)", done.stdout
    )
    assert re.search(r"commit: (?:unknown|[0-9a-f]{12}(?:-modified)?)$", done.stdout, re.MULTILINE)
    assert f"({sys.executable})" in others[-1]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"features": "", "cryptography": "ring"}, "features: none; cryptography: ring"),
        (
            {"features": "aws-lc,fips", "cryptography": "AWS-LC"},
            "features: aws-lc, fips; cryptography: AWS-LC",
        ),
        ({"commit": ""}, "commit: unknown"),
        ({"commit": "0123456789ab"}, "commit: 0123456789ab"),
    ],
)
def test_how_it_was_built(facts: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = build_facts()
    monkeypatch.setattr(version, "build_facts", lambda: known | facts)
    assert line in version.build_lines()


def test_serve_imports_little_because_every_worker_keeps_it() -> None:
    script = "import sys, prefork.cli.main, prefork.hosting.serving; print(*sys.modules)"
    env = {"PYTHONPATH": ":".join(sys.path)}
    loaded = subprocess.check_output([sys.executable, "-c", script], env=env, text=True).split()
    assert not {"rich", "tomllib", "difflib", "importlib.metadata"} & set(loaded)
