from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from prefork.cli import hints
from prefork.cli.main import commands
from prefork.config.options import EXTERNAL


def prefork(*args, cwd, **variables):
    """Runs the command in a process of its own, since an error ends the process."""
    return subprocess.run(
        [sys.executable, "-c", "from prefork.cli.main import main; main()", *args],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), **variables},
        capture_output=True,
        text=True,
        timeout=30,
    )


def error(*args, cwd, **variables):
    done = prefork(*args, cwd=cwd, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("prefork: ")
    return line.removeprefix("prefork: ")


@pytest.fixture
def app(tmp_path):
    def write(content):
        (tmp_path / "app.py").write_text(content)
        return tmp_path

    return write


SERVER = "from prefork import HTTPServer, Kernel\nkernel = Kernel()\nserver = HTTPServer(kernel, port=0)\n"


@pytest.fixture
def given(monkeypatch):
    """Runs `prefork serve app.py` without serving. Returns the values that were given."""
    from prefork.hosting import serving

    def run(*args, **variables):
        seen = {}

        def look(target, values):
            assert target == "app.py"
            seen.update({name: value for name, (value, _) in values.items()})

        monkeypatch.setattr(serving, "run", look)
        CliRunner().invoke(commands, ["serve", "app.py", *args], env=variables, catch_exceptions=False)
        return seen

    return run


def test_every_option_has_a_flag_that_is_in_the_help():
    shown = CliRunner().invoke(commands, ["serve", "--help"]).output
    assert all(f"{option.flag} " in shown for option in EXTERNAL.values())
    assert "[default: 1g]" in shown
    assert "[default: 75]" in shown


def test_flags_and_variables_are_read(given):
    assert given("--min-spare", "2", "--no-keep-alive", PREFORK_MAX_BODY="10m") == {
        "min_spare_servers": 2,
        "keep_alive": False,
        "max_body": 10 << 20,
    }


def test_bind_is_one_address_and_of_other_options_the_last_counts(given):
    assert given("-b", "[::1]:80")["address"] == "::1"
    assert given("--max-body", "1m", "--max-body", "2m") == {"max_body": 2 << 20}


@pytest.mark.parametrize("as_flag", [True, False])
def test_a_flag_or_a_variable_names_the_file(given, tmp_path, as_flag):
    path = tmp_path / "prefork.toml"
    path.write_text('glue = "site"\n')
    found = given("--config", str(path)) if as_flag else given(PREFORK_CONFIG=str(path))
    assert found == {"ipc_glue": "site"}


def test_without_a_command_the_help_is_shown():
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
        (["serve", "app.py", "-t", "30"], "No such option '-t'; use --request-timeout (see"),
        (
            ["serve", "app.py", "--preload"],
            "No such option '--preload'; the application is always loaded before the workers are",
        ),
        (["serve", "app.py", "-kgevent"], "No such option '-k'; the interface is detected; for threads"),
        (
            ["serve", "app.py", "--ssl-keyfile=x"],
            "No such option '--ssl-keyfile'; TLS is not supported yet; use",
        ),
        (["serve", "app.py", "-D", "--frob"], "No such option '-D'; use a service manager to set user"),
        (["serve", "app.py", "--keep-alive", "5"], "--keep-alive takes no value; use --keep-alive-time"),
        (["serve", "--keep-alive", "5", "app.py"], "takes no value; use --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "--keep-alive=5"], "takes no value; use --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "-b", "127.0.0.1"], "--bind: expected host:port, [IPv6]:port, a port or unix:"),
        (
            ["serve", "app.py", "--bind", "[::1]:80", "-b", "localhost:80"],
            "--bind: expected one address to listen on (a port alone listens on all addresses; for several "
            "use a proxy or a second server), got [::1]:80 and localhost:80",
        ),
        (
            ["serve", "app.py", "--static", "/x=.", "--static", "foo"],
            "--static: expected /prefix=directory with an existing directory, got 'foo'",
        ),
        (["serve", "app.py", "--max-body", "x"], "--max-body: expected bytes"),
        (["serve", "app.py:sever"], "app.py has no 'sever'; did you mean 'server'?"),
        (["serve", "app.py", "--workers", "3"], "--workers needs a PreForkServer; app.py has an HTTPServer"),
        (["serve", "app.py", "--pid-file", "no/such/file"], "cannot be written"),
        (["serve", "app.py", "--config", "gone.toml"], "gone.toml cannot be read"),
        (["frob"], "(see prefork --help)"),
        (["status", "--frob"], "(see prefork status --help)"),
    ],
)
def test_an_error_of_the_user_is_one_line(app, args, message):
    assert message in error(*args, cwd=app(SERVER))


def test_an_invalid_variable_is_reported_by_its_name(app):
    line = error("serve", "app.py", cwd=app(SERVER), PREFORK_MAX_CLIENTS="many")
    assert line == "PREFORK_MAX_CLIENTS: expected a whole number from 1 to 65535, got 'many'"


def test_options_for_several_servers_are_an_error_with_their_names(app):
    two = SERVER + 'HTTPServer(kernel, alias="ADMIN", port=0)\n'
    assert "several servers (ADMIN, HTTPD)" in error("serve", "app.py", "--debug", cwd=app(two))


def test_an_exception_of_the_user_shows_only_the_traceback_of_the_user(app):
    done = prefork("serve", "app.py", cwd=app("def broken():\n    1 / 0\n\nbroken()\n"))
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "prefork: app.py could not be loaded" in done.stderr
    assert "main.py" not in done.stderr
    assert "importlib" not in done.stderr


def test_short_flags_are_those_of_gunicorn() -> None:
    flags = {flag for parameter in commands.commands["serve"].params for flag in parameter.opts}
    assert {"-b", "-w", "-p", "-c"} <= flags


def test_hints_name_existing_options() -> None:
    flags = {option.flag for option in EXTERNAL.values()}
    assert {name.split()[0] for name in hints.EQUIVALENTS.values()} <= flags
    assert not flags & hints.EQUIVALENTS.keys()
    absent = [name for names in hints.NOT_SUPPORTED for name in names.split()]
    assert not {name for name in absent if name in hints.EQUIVALENTS or name in flags}
    named = {flag for why in hints.NOT_SUPPORTED.values() for flag in re.findall(r"--[a-z-]+", why)}
    assert named - {"--json"} <= flags


def test_version(tmp_path):
    done = prefork("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("prefork 0.")


def test_serve_imports_little_because_every_worker_keeps_it():
    script = "import sys, prefork.cli.main, prefork.hosting.serving; print(*sys.modules)"
    env = {"PYTHONPATH": ":".join(sys.path)}
    loaded = subprocess.check_output([sys.executable, "-c", script], env=env, text=True).split()
    assert not {"rich", "tomllib", "difflib", "importlib.metadata"} & set(loaded)
