"""`--log-config`: logging as a file configures it, in every process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.server import Serve, run_prefork, start_program
from support.waiting import wait_until

TARGET = Path(f"{APPS / 'log_texts.py'}:wsgi")


def configuration(file: Path | None = None) -> dict[str, Any]:
    """Everything as JSON, to a file or to standard error."""
    handler: dict[str, Any] = {"class": "prefork.logs.LogHandler", "stream": "ext://sys.stderr"}
    if file is not None:
        handler = {"class": "logging.FileHandler", "filename": str(file)}
    return {
        "formatters": {"json": {"()": "prefork.logs.JSONFormatter"}},
        "handlers": {"all": handler | {"formatter": "json"}},
        "root": {"handlers": ["all"], "level": "INFO"},
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One that logs to the file `all.log` beside it."""
    path = tmp_path / "log.json"
    path.write_text(json.dumps(configuration(tmp_path / "all.log")))
    return path


@pytest.mark.parametrize(
    "options", [("--workers", "2"), ("--workers", "2", "--no-preload"), ("--start", "0")]
)
def test_every_process_logs_as_it_says_and_once(serve: Serve, config: Path, options: tuple[str, ...]) -> None:
    server = serve(TARGET, *options, "--log-config", str(config))
    assert server.request("/logs/it")[0] == 500
    log = config.parent / "all.log"
    wait_until(lambda: "it is in the log" in log.read_text(), "the line of the failure")
    if server.glue:
        (worker, *_) = server.workers("spare")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in server.workers(), "its end")
    assert server.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line["message"] == "no such page: /logs/it" for line in lines) == 1
    assert sum("it is in the log" in line.get("exception", "") for line in lines) == 1
    assert server.err == []
    if server.glue:
        assert any(str(worker) in line["message"] for line in lines if line["pid"] == server.pid)


def test_its_level_wins_over_that_of_the_command(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(configuration() | {"loggers": {"prefork": {"level": "ERROR"}}}))
    server = serve(TARGET, "--workers", "1", "--log-config", str(path), "--log-level", "debug")
    server.raw(b"no request\r\n\r\n")
    server.request("/raises/it")
    server.wait_log("a fault")
    assert server.stop() == 0
    assert {json.loads(line)["level"] for line in server.err} == {"ERROR"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"handlers": {"x": {"class": "no.Such"}}}', "Unable to configure handler 'x': Cannot resolve"),
        (None, "No such file or directory"),
    ],
)
def test_a_mistake_in_it_is_one_line(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "log.json"
    if content is not None:
        path.write_text(content)
    done = run_prefork("serve", str(TARGET), "--bind", "127.0.0.1:0", "--log-config", str(path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prefork: log_config {path}: ")
    assert reason in line
    assert done.stdout == ""


def test_it_may_name_what_is_beside_the_application(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "shop_log.py").write_text("import logging\nclass Own(logging.StreamHandler): pass\n")
    path = tmp_path / "log.toml"
    path.write_text('[handlers.own]\nclass = "shop_log.Own"\n[root]\nhandlers = ["own"]\n')
    source = "def app(environ, start_response):\n    raise ValueError('a fault')\n"
    server = serve(source, "--workers", "1", "--log-config", str(path))
    server.request()
    server.wait_log("ValueError: a fault")


PROGRAM = """
import prefork

def app(environ, start_response):
    raise ValueError("a fault")

log = {{
    "formatters": {{"json": {{"()": "prefork.logs.JSONFormatter"}}}},
    "handlers": {{
        "all": {{"class": "prefork.logs.LogHandler", "stream": "ext://sys.stderr", "formatter": "json"}}
    }},
    "root": {{"handlers": ["all"], "level": "INFO"}},
}}
prefork.run(app, bind="unix:{place}", workers=1, log_config=log)
"""


def test_a_program_gives_a_dict(tmp_path: Path) -> None:
    from support.server import Server

    place = tmp_path / "it.sock"
    server = Server(start_program("-c", PROGRAM.format(place=place)))
    try:
        server.wait_serving()
        server.raw(b"GET / HTTP/1.0\r\n\r\n")
        line = json.loads(server.wait_log("a fault"))
        assert line["logger"] == "prefork.server"
    finally:
        server.kill()


def test_a_change_of_it_takes_a_restart(serve: Serve, config: Path, tmp_path: Path) -> None:
    options = tmp_path / "prefork.toml"
    options.write_text("")
    server = serve(TARGET, "--workers", "1", "--config", str(options))
    options.write_text(f'log_format = "json"\nlog_config = "{config}"\n')
    assert server.glue
    done = run_prefork("reload", "--glue", server.glue)
    assert done.returncode == 0, done.stderr
    for name in ("log_format", "log_config"):
        server.wait_log(f"reload: {name} has changed, which takes a restart")
    server.request("/logs/it")
    assert server.wait_log("no such page: /logs/it").endswith(" ERROR shop: no such page: /logs/it")
    assert server.stop() == 0
    assert not (config.parent / "all.log").exists()
