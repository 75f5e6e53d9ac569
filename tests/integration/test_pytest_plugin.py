"""The fixture `prefork_server` in a run of pytest of its own, with every warning an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

APP = """
import os, urllib.request
import pytest

def app(environ, start_response):
    print("asked for", environ["PATH_INFO"])
    start_response("200 OK", [])
    return [str(os.getppid()).encode()]

def get(server, path):
    with urllib.request.urlopen(server.url + path) as response:
        return response.read().decode()
"""

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(tests, *arguments)` runs pytest with these tests."""

    def run_pytest(tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_site.py").write_text(APP + tests)
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-W",
                "error",
                *arguments,
                "test_site.py",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run_pytest


SEVERAL = """
@pytest.mark.parametrize("number", range(4))
def test_pages(prefork_server, number):
    servers = [prefork_server(app), prefork_server(app, threads=2)]
    assert [get(server, "/here") for server in servers] == [str(server.pid) for server in servers]
    assert "asked for /here" in servers[0].output
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("-s",)], ids=["alone", "xdist", "not captured"])
def test_a_test_has_servers(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(SEVERAL, *arguments)
    assert "4 passed" in done.stdout, done.stdout
    assert "asked for" not in done.stdout + done.stderr


FAILS = """
pids = []

def test_one_that_fails(prefork_server):
    server = prefork_server(app)
    pids.append(server.pid)
    get(server, "/first")
    assert False

def test_the_server_is_gone(prefork_server):
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    get(prefork_server(app), "/second")
"""


def test_what_the_server_wrote_is_shown_with_a_test_that_fails(run: Run) -> None:
    done = run(FAILS)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "prefork_server http://127.0.0.1:" in done.stdout
    assert "asked for /first" in done.stdout
    assert "asked for /second" not in done.stdout


COUNTS = """
import sys

def test_what_is_imported():
    assert "pytest_prefork" in sys.modules
    assert not [name for name in sys.modules if name.split(".")[0] == "prefork"]
"""


def test_it_imports_no_server_until_a_test_wants_one(run: Run) -> None:
    assert "1 passed" in run(COUNTS).stdout
