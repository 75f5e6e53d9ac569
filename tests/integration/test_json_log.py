"""The log as JSON: each line of each process is an object, from the first word to the last."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.server import Serve, Server, run_prefork
from support.waiting import wait_until

JSON = ("--log-format", "json")
HOSTILE = "%0A%22%5C%7D%1B%5B31m%0D%07%C2%9B31m%E2%80%AE%E2%80%A8%FF%00%7F%C2%85"
KINDS = {
    "wsgi": ("wsgi",),
    "threads": ("wsgi", "--threads", "2"),
    "asgi": ("asgi",),
    "events": ("events",),
}


def lines_of(text: str) -> list[dict[str, Any]]:
    """The objects of a log, each with what every line has."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert {"time", "level", "logger", "pid", "message"} <= line.keys(), line
    return lines


def found(server: Server, text: str) -> dict[str, Any]:
    """The line that has a text in its message."""
    server.wait_log(text)
    return next(line for line in lines_of(server.log) if text in line["message"])


@pytest.mark.parametrize("how", ["raises", "quotes", "several", "logs", "silent"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_whatever_a_client_sends_each_line_is_an_object(serve: Serve, kind: str, how: str) -> None:
    name, *options = KINDS[kind]
    server = serve(Path(f"{APPS / 'log_texts.py'}:{name}"), "--workers", "1", *options, *JSON)
    assert server.request(f"/{how}/{HOSTILE}")[0] == 500
    server.raw(b"GET / HTTP/1.1\r\nHost: \x00\xff\x1b\r\n\r\n")
    server.wait_log("prefork.server")
    assert server.stop() == 0
    lines = lines_of(server.log)
    for line in lines:
        for text in map(str, line.values()):
            assert not any(ord(char) < 32 and char not in "\n\t" for char in text), line
            assert "\u202e" not in text
            assert "\x9b" not in text
    failed = [line for line in lines if line["level"] == "ERROR"]
    assert failed
    if how in ("raises", "quotes", "several"):
        assert failed[0]["exception"].startswith(("Traceback", "  + Exception Group"))
    assert all(json.loads(line)["message"] for line in server.out)


def test_the_lines_of_manager_mold_and_workers_are_objects(serve: Serve) -> None:
    server = serve(Path(f"{APPS / 'log_texts.py'}:wsgi"), "--workers", "2", *JSON)
    (worker, *_) = server.workers("spare")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in server.workers() and len(server.workers("spare")) == 2, "another")
    assert server.stop() == 0
    lines = lines_of(server.log)
    assert any(line["logger"] == "prefork.pool" and str(worker) in line["message"] for line in lines)
    assert len({line["pid"] for line in lines}) >= 1


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("nosuchmodule:app", *JSON), 3, "nosuchmodule"),
        (("app:app", *JSON, "--workers", "many"), 2, "--workers"),
        (("app:app", *JSON, "--no-such-flag"), 2, "--no-such-flag"),
        ((*JSON,), 2, "TARGET"),
        (("app:app", *JSON, "--log-config", "/no/such/file"), 2, "/no/such/file"),
    ],
)
def test_what_keeps_it_from_serving_is_an_object(
    arguments: tuple[str, ...], status: int, says: str, tmp_path: Path
) -> None:
    done = run_prefork("serve", *arguments, cwd=tmp_path)
    assert done.returncode in (status, 2, 3)
    assert any(says in line["message"] for line in lines_of(done.stderr))


def test_an_application_that_cannot_be_loaded_is_an_object_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def load():\n    raise ValueError('a\\x1bfault')\nload()\n")
    for more in ((), ("--start", "0"), ("--no-preload",)):
        done = run_prefork("serve", "broken:app", "-b", "127.0.0.1:0", *JSON, *more, cwd=tmp_path)
        assert done.returncode != 0
        lines = lines_of(done.stderr)
        assert any("ValueError" in line["message"] + line.get("exception", "") for line in lines)
        assert "\x1b" not in done.stderr


def test_the_environment_and_the_file_say_it_too(tmp_path: Path) -> None:
    file = tmp_path / "prefork.toml"
    file.write_text('log_format = "json"\nworkers = "many"\n')
    done = run_prefork("serve", "app:app", "-c", str(file))
    assert done.returncode == 2
    assert "workers" in lines_of(done.stderr)[0]["message"]
    done = run_prefork("serve", "app:app", "--workers", "many", env={"PREFORK_LOG_FORMAT": "json"})
    assert "--workers" in lines_of(done.stderr)[0]["message"]


FAILS_IN_THREAD = """
import logging, threading

logging.getLogger("shop").error("begun\\x1b")  # no handler: Python would print the bare message

def fail():
    raise ValueError("in a thread")

def app(environ, start_response):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    start_response("200 OK", [])
    return [b"well"]
"""


def test_what_python_would_print_is_an_object(serve: Serve) -> None:
    server = serve(FAILS_IN_THREAD, "--workers", "1", *JSON)
    server.get()
    assert "ValueError: in a thread" in found(server, "in a thread")["exception"]
    assert found(server, "begun")["logger"] == "shop"
    assert server.stop() == 0
    lines_of(server.log)


def test_a_disk_without_room_and_a_pipe_without_a_reader_cost_lines_only(serve: Serve) -> None:
    target = Path(f"{APPS / 'log_texts.py'}:wsgi")
    with open("/dev/full", "w") as full:
        server = serve(target, "--workers", "1", *JSON, stderr=full)
        for _ in range(3):
            assert server.request("/raises/it")[0] == 500
        assert server.stop() == 0
    reader, writer = os.pipe()
    server = serve(target, "--workers", "1", *JSON, stderr=writer)
    os.close(writer)
    os.close(reader)
    for _ in range(3):
        assert server.request("/raises/it")[0] == 500
    assert server.stop() == 0


@pytest.mark.parametrize("limit", ["--request-timeout", "--heartbeat-timeout"])
def test_the_tracebacks_of_a_worker_that_is_stuck_are_in_its_line(
    serve: Serve, limit: str, tmp_path: Path
) -> None:
    options = ("--workers", "1", limit, "0.5", "--request-id", "trusted", *JSON)
    server = serve(APPS / "wsgi_recycled.py", *options)
    (stuck,) = server.workers()
    status, fields, _ = server.request(f"/sleeps?{tmp_path}/call", headers={"X-Request-ID": "given-7"})
    assert (status, fields["x-request-id"]) == (504, "given-7")
    server.wait_log(f"worker {stuck} was stuck in GET")
    assert server.stop() == 0
    (line,) = [line for line in lines_of(server.log) if " is stuck in " in line["message"]]
    assert line["message"].startswith(f"process {stuck} is stuck in GET /sleeps?")
    assert (line["level"], line["pid"], line["request_id"]) == ("CRITICAL", stuck, "given-7")
    assert "in application" in line["exception"]


def test_the_tasks_of_a_loop_that_is_blocked_are_a_line(serve: Serve) -> None:
    options = ("--workers", "1", "--lifespan", "off", "--heartbeat-timeout", "0.5")
    server = serve(APPS / "asgi_lags.py", *options, *JSON)
    stuck = int(server.get("/later?60"))
    server.wait_log(f"worker {stuck} was stuck without a request: replaced")
    assert server.stop() == 0
    lines = lines_of(server.log)
    assert any("is stuck in no request" in line["message"] for line in lines)
    assert any("(most recent call first):\n  runs now" in line["message"] for line in lines)
