from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from prefork.cli import main as cli
from prefork.config.options import OUTSIDE


def prefork(*args, cwd, **variables):
    """Runs the command in a process of its own, since what it refuses ends the process."""
    return subprocess.run(
        [sys.executable, "-c", "from prefork.cli.main import main; main()", *args],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), **variables},
        capture_output=True,
        text=True,
        timeout=30,
    )


def refusal(*args, cwd, **variables):
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
def said(monkeypatch):
    """Runs `prefork serve app.py` and gives what it would have served with."""
    from prefork.hosting import serving

    def run(*args, **variables):
        seen = {}

        def look(target, settings):
            assert target == "app.py"
            seen.update({name: value for name, (value, _) in settings.items()})

        monkeypatch.setattr(serving, "run", look)
        CliRunner().invoke(cli.commands, ["serve", "app.py", *args], env=variables, catch_exceptions=False)
        return seen

    return run


def test_every_option_has_a_flag_that_is_in_the_help():
    told = CliRunner().invoke(cli.commands, ["serve", "--help"]).output
    assert all(f"{option.flag} " in told for option in OUTSIDE.values())
    assert "[1g]" in told
    assert "[75]" in told


def test_flags_and_variables_are_read(said):
    assert said("--min-spare", "2", "--no-keep-alive", PREFORK_MAX_BODY="10m") == {
        "min_spare_servers": 2,
        "keep_alive": False,
        "max_body": 10 << 20,
    }


def test_bind_is_one_address_and_of_other_options_the_last_counts(said):
    assert said("-b", "[::1]:80")["address"] == "::1"
    assert said("--max-body", "1m", "--max-body", "2m") == {"max_body": 2 << 20}


@pytest.mark.parametrize("as_flag", [True, False])
def test_the_file_is_named_by_a_flag_or_a_variable(said, tmp_path, as_flag):
    path = tmp_path / "prefork.toml"
    path.write_text('glue = "site"\n')
    found = said("--config", str(path)) if as_flag else said(PREFORK_CONFIG=str(path))
    assert found == {"ipc_glue": "site"}


def test_without_a_command_the_help_is_shown():
    told = CliRunner().invoke(cli.commands, [])
    assert told.exit_code == 0
    assert "serve" in told.output
    assert "status" in told.output


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["serve"], "Missing argument 'TARGET'. (see prefork serve --help)"),
        (["serve", "gone.py"], "gone.py cannot be read: No such file or directory"),
        (["serve", "app.py", "--frob"], "(see prefork serve --help)"),
        (["serve", "app.py", "--port", "80"], "No such option '--port'; here it is --bind HOST:PORT (see"),
        (["serve", "app.py", "-t", "30"], "No such option '-t'; here it is --request-timeout (see"),
        (
            ["serve", "app.py", "--preload"],
            "No such option '--preload'; it is always so: the application is loaded once, and",
        ),
        (["serve", "app.py", "-kgevent"], "No such option '-k'; the application shows what it is; --threads"),
        (["serve", "app.py", "--ssl-keyfile=x"], "No such option '--ssl-keyfile'; there is no TLS yet; a"),
        (["serve", "app.py", "-D", "--frob"], "No such option '-D'; user, umask and background are for who"),
        (["serve", "app.py", "--keep-alive", "5"], "--keep-alive is a switch; the time is --keep-alive-time"),
        (["serve", "--keep-alive", "5", "app.py"], "switch; the time is --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "--keep-alive=5"], "switch; the time is --keep-alive-timeout 5 (see"),
        (["serve", "app.py", "-b", "127.0.0.1"], "--bind: expected host:port, [IPv6]:port, a port or unix:"),
        (
            ["serve", "app.py", "--bind", "[::1]:80", "-b", "localhost:80"],
            "--bind: expected one address to listen on (a port alone is every address of this machine; for "
            "others take a proxy or a second server), got [::1]:80 and localhost:80",
        ),
        (
            ["serve", "app.py", "--static", "/x=.", "--static", "foo"],
            "--static: expected /prefix=directory, of a directory that exists, got 'foo'",
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
def test_what_the_user_got_wrong_is_one_line(app, args, complaint):
    assert complaint in refusal(*args, cwd=app(SERVER))


def test_a_wrong_variable_is_refused_by_its_name(app):
    line = refusal("serve", "app.py", cwd=app(SERVER), PREFORK_MAX_CLIENTS="many")
    assert line == "PREFORK_MAX_CLIENTS: expected a whole number from 1 to 65535, got 'many'"


def test_options_for_one_of_several_servers_are_refused_with_their_names(app):
    two = SERVER + 'HTTPServer(kernel, alias="ADMIN", port=0)\n'
    assert "several servers (ADMIN, HTTPD)" in refusal("serve", "app.py", "--debug", cwd=app(two))


def test_the_users_own_exception_shows_their_traceback_alone(app):
    done = prefork("serve", "app.py", cwd=app("def broken():\n    1 / 0\n\nbroken()\n"))
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "prefork: app.py could not be loaded" in done.stderr
    assert "cli.py" not in done.stderr
    assert "importlib" not in done.stderr


def test_short_flags_are_those_of_gunicorn() -> None:
    flags = {flag for parameter in cli.serve.params for flag in parameter.opts}
    assert {"-b", "-w", "-p", "-c"} <= flags


def test_what_others_call_an_option_leads_to_one_that_is() -> None:
    flags = {option.flag for option in OUTSIDE.values()}
    assert {name.split()[0] for name in cli.ELSEWHERE.values()} <= flags
    assert not flags & cli.ELSEWHERE.keys()
    absent = [name for names in cli.ABSENT for name in names.split()]
    assert not {name for name in absent if name in cli.ELSEWHERE or name in flags}
    told = {flag for why in cli.ABSENT.values() for flag in re.findall(r"--[a-z-]+", why)}
    assert told - {"--json"} <= flags


def test_version(tmp_path):
    done = prefork("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("prefork 0.")


def test_what_serve_imports_every_worker_keeps_so_it_is_little():
    script = "import sys, prefork.cli.main, prefork.hosting.serving; print(*sys.modules)"
    env = {"PYTHONPATH": ":".join(sys.path)}
    loaded = subprocess.check_output([sys.executable, "-c", script], env=env, text=True).split()
    assert not {"rich", "tomllib", "difflib", "importlib.metadata"} & set(loaded)
