"""Where a server takes its options from: files that are found, profiles, variables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.screen import Screen
from support.server import Finished, Server, run_prefork, running, write_app
from support.upgrades import kill_all
from support.waiting import wait_until

APP = """\
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("SHOP", "no shop").encode()]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with an application."""
    write_app(tmp_path, APP)
    return tmp_path


def written(project: Path, name: str, *lines: str) -> Path:
    path = project / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def workers(server: Server) -> int:
    """The maximum number of workers."""
    return int(server.status()["manager"]["max_clients"])


def done(server: Server, *command: str) -> Finished:
    assert server.glue
    finished = run_prefork(*command, "--glue", server.glue)
    assert finished.returncode == 0, finished.stderr
    return finished


def test_the_files_of_the_directory_are_found_and_named_in_the_log(project: Path) -> None:
    own = written(project, "prefork.toml", 'bind = "127.0.0.1:0"', "workers = 1")
    shared = written(project, "pyproject.toml", "[tool.prefork]", "workers = 2")
    with running("app.py", cwd=project) as server:
        assert workers(server) == 2
        line = server.wait_log("options are read from")
        assert line.endswith(f"INFO prefork.server: options are read from {own} and {shared}")
        assert server.get() == b"no shop"
        assert server.stop() == 0
    with running("app.py", "--config", "none", "--bind", "127.0.0.1:0", cwd=project) as server:
        assert workers(server) == 256
        assert "options are read" not in server.log


def test_a_configuration_of_gunicorn_is_left_alone_and_named(project: Path) -> None:
    written(project, "gunicorn.conf.py", "workers = 3")
    with running("app.py", "--bind", "127.0.0.1:0", cwd=project) as server:
        line = server.wait_log("gunicorn.conf.py is not read")
        assert line.endswith("; `prefork import-config gunicorn.conf.py` converts it")
        assert workers(server) == 256


def test_a_reload_reads_files_and_variables_again_also_after_chdir(project: Path) -> None:
    (project / "below").mkdir()
    (project / "app.py").rename(project / "below" / "app.py")
    written(project, ".env", "SHOP=first", "GLUE=one")
    own = (
        'bind = "127.0.0.1:0"',
        'chdir = "below"',
        'glue = "config-${GLUE}"',
        'static = { "/x" = "below" }',
    )
    written(project, "prefork.toml", *own, "workers = 1")
    with running("app.py", "--env-file", ".env", cwd=project) as server:
        assert (workers(server), server.glue) == (1, "config-one")
        assert server.get() == b"first"
        assert b"start_response" in server.get("/x/app.py")
        written(project, ".env", "SHOP=second", "GLUE=one")
        written(project, "prefork.toml", *own, "workers = 2")
        done(server, "reload")
        assert workers(server) == 2
        assert server.get() == b"second"
        written(project, ".env", "GLUE=one", "SHOP")
        failed = run_prefork("reload", "--glue", "config-one")
        assert failed.returncode == 1
        assert ".env:2: expected NAME=value" in failed.stderr
        assert server.get() == b"second"


def test_a_server_that_takes_over_reads_changed_variables(project: Path) -> None:
    written(project, ".env", "SHOP=first")
    flags = ("--workers", "1", "--bind", "127.0.0.1:0")
    with running("app.py", "--env-file", ".env", *flags, cwd=project) as server:
        try:
            assert server.get() == b"first"
            written(project, ".env", "SHOP=second")
            assert "has taken over" in done(server, "upgrade").stdout
            wait_until(lambda: server.get() == b"second", "the new process")
        finally:
            kill_all(server)


def test_a_profile_and_variables_outside_win(project: Path) -> None:
    written(
        project,
        "prefork.toml",
        *('bind = "127.0.0.1:0"', "workers = 3", "[profile.dev]", "workers = 1"),
    )
    written(project, ".env", "SHOP=file", "PREFORK_PROFILE=dev")
    with running("app.py", "--env-file", ".env", cwd=project, env={"SHOP": "outside"}) as server:
        assert workers(server) == 1
        assert server.get() == b"outside"


def test_the_variables_of_platforms_are_heeded(project: Path) -> None:
    platform = {"PORT": "0", "WEB_CONCURRENCY": "2"}
    with running("app.py", cwd=project, env=platform) as server:
        assert server.url.startswith("http://0.0.0.0:")
        assert workers(server) == 2
        assert server.get() == b"no shop"
    flags = ("--bind", "127.0.0.1:0", "--max-clients", "7")
    with running("app.py", *flags, cwd=project, env=platform) as server:
        assert server.host == "127.0.0.1"
        assert workers(server) == 7
    wrong = {"PORT": "http", "WEB_CONCURRENCY": "many"}
    with running("app.py", *flags, cwd=project, env=wrong) as server:
        assert server.get() == b"no shop"


def test_the_code_of_a_server_is_stronger_than_platforms(project: Path) -> None:
    program = (
        "from prefork import Kernel, PreForkServer",
        "kernel = Kernel()",
        "server = PreForkServer(kernel, address='127.0.0.1', port=0, max_clients=3, start_servers=1)",
        "kernel.run()",
    )
    written(project, "program.py", *program)
    with running("program.py", cwd=project, env={"PORT": "1", "WEB_CONCURRENCY": "2"}) as server:
        assert server.host == "127.0.0.1"
        assert workers(server) == 3


@pytest.mark.parametrize(
    ("files", "arguments", "env", "message"),
    [
        (
            {"prefork.toml": "\nwokers = 2"},
            (),
            {},
            "prefork.toml:2: unknown option 'wokers'; did you mean 'workers'?",
        ),
        (
            {"pyproject.toml": "[tool.prefork]\nworkers = 'x'"},
            (),
            {},
            "pyproject.toml:2: workers: expected a whole",
        ),
        (
            {"prefork.toml": "glue = '${NO_SUCH}'"},
            (),
            {},
            "prefork.toml:1: glue: the variable NO_SUCH is not set",
        ),
        (
            {"prefork.toml": "[profile.dev]"},
            ("--profile", "dve"),
            {},
            "--profile: prefork.toml has no profile 'dve'",
        ),
        ({}, ("--env-file", "none"), {}, "none cannot be read: No such file or directory"),
        ({".env": "A=1\nB\n"}, (), {"PREFORK_ENV_FILE": ".env"}, ".env:2: expected NAME=value"),
        ({}, (), {"PORT": "80a"}, "PORT: expected a whole number from 0 to 65535, got '80a'"),
        (
            {},
            (),
            {"WEB_CONCURRENCY": "0"},
            "WEB_CONCURRENCY: expected a whole number from 1 to 65535, got '0'",
        ),
    ],
)
def test_a_mistake_is_one_line(
    project: Path, files: dict[str, str], arguments: tuple[str, ...], env: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        written(project, name, content)
    finished = run_prefork("serve", "app.py", *arguments, cwd=project, env=env)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"prefork: {message}")
    assert finished.stderr.count("\n") == 1


def test_a_mistake_is_told_in_the_format_of_the_file_that_was_found(project: Path) -> None:
    written(project, "prefork.toml", "workers = 'x'", "[profile.json]", "log-format = 'json'")
    finished = run_prefork("serve", "app.py", "--profile", "json", cwd=project)
    assert finished.returncode == 2
    assert "expected a whole number" in json.loads(finished.stderr)["message"]


# prefork config


def config(project: Path, *arguments: str, **env: str) -> str:
    finished = run_prefork("config", *arguments, cwd=project, env=env)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def test_each_effective_value_has_its_source(project: Path) -> None:
    written(project, "prefork.toml", "# x", "max_body = '10m'", "[profile.dev]", "backlog = 5")
    arguments = ("--profile", "dev", "--threads", "4", "--json")
    found = json.loads(config(project, *arguments, PREFORK_MAX_LINE="2k", PORT="81", WEB_CONCURRENCY="3"))
    expected = {
        "max_body": {"value": "10m", "source": "prefork.toml:2: max_body"},
        "backlog": {"value": 5, "source": "prefork.toml:4: backlog"},
        "max_line": {"value": "2k", "source": "PREFORK_MAX_LINE"},
        "threads": {"value": 4, "source": "--threads"},
        "bind": {"value": ["0.0.0.0:81"], "source": "PORT"},
        "max_clients": {"value": 3, "source": "WEB_CONCURRENCY"},
        "keep_alive": {"value": True, "source": "default"},
        "pid_file": {"value": None, "source": "default"},
    }
    assert {name: found[name] for name in expected} == expected


def test_a_value_may_follow_from_others(project: Path) -> None:
    found = json.loads(config(project, "--max-clients", "4", "--json"))
    assert found["start"] == {"value": 4, "source": "follows from others"}


def test_what_the_code_says_is_shown_with_a_target(project: Path) -> None:
    program = (
        "from prefork import Kernel, PreForkServer",
        "server = PreForkServer(Kernel(), port=8123, max_clients=3)",
    )
    written(project, "program.py", *program)
    found = json.loads(config(project, "program.py", "--max-spare", "8", "--json"))
    assert found["max_clients"] == {"value": 3, "source": "code"}
    assert found["max_spare"] == {"value": 8, "source": "--max-spare"}
    assert found["start"] == {"value": 3, "source": "code"}
    assert found["bind"] == {"value": [":8123"], "source": "code"}
    assert "threads" not in found
    assert "threads" in config(project, "app.py")


def test_the_list_for_readers_has_a_line_for_each_option(project: Path) -> None:
    written(project, "prefork.toml", "workers = 2")
    lines = [line.split() for line in config(project).splitlines()]
    shown = {words[0]: " ".join(words[1:]) for words in lines}
    assert shown["max_clients"] == "2 prefork.toml:1: workers"
    assert shown["glue"] == "(a unique name) default"
    assert shown["bind"] == '["127.0.0.1:8000"] default'
    defaults = config(project, "--defaults", "--workers", "3", PREFORK_MAX_BODY="1")
    assert {line.split()[-1] for line in defaults.splitlines()} == {"default"}


def test_a_mistake_in_a_file_is_told_by_it_as_well(project: Path) -> None:
    written(project, "prefork.toml", "wokers = 2")
    finished = run_prefork("config", cwd=project)
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "prefork: prefork.toml:1: unknown option 'wokers'; did you mean 'workers'?"
    )


def test_the_file_to_start_from_is_served(project: Path) -> None:
    flags = ("--workers", "1", "--bind", "127.0.0.1:0", "--static", f"/files={project}")
    (project / "prefork.toml").write_text(config(project, *flags, "--toml"))
    with running("app.py", cwd=project) as server:
        assert workers(server) == 1
        assert server.get("/files/prefork.toml").startswith(b"#:schema ./prefork.schema.json")


def test_the_schema_is_that_of_the_documentation(project: Path) -> None:
    documented = Path(__file__).parents[2] / "docs" / "prefork.schema.json"
    if not documented.exists():
        pytest.skip("the tests run without the documents")
    assert json.loads(config(project, "--schema")) == json.loads(documented.read_text())


def test_a_terminal_gets_a_table(project: Path) -> None:
    written(project, "prefork.toml", "workers = 2")
    screen = Screen(
        *("-m", "prefork", "config", "--config", str(project / "prefork.toml")),
        size=(120, 40),
        env={"COLUMNS": "120"},
    )
    try:
        wait_until(lambda: "pid_file" in screen.written and "chroot" in screen.written, "the whole table")
    finally:
        screen.close()
    assert "Listening" in screen.written
    assert "\x1b[1m" in screen.written
