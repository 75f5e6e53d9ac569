"""Type checkers know the options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prefork.config.checked import EXTERNAL

RIGHT = """\
import os
import prefork
from typing import Any

async def app(scope: Any, receive: Any, send: Any) -> None: ...
kernel = prefork.Kernel()
prefork.run(app, bind="0.0.0.0:80", workers=4, max_body="10m", threads=2, request_timeout=3, keep_alive=False)
prefork.run("shop:app", workers="4", loop="uvloop", static={"/static": "public"}, chdir=os.curdir)
prefork.HTTPServer(kernel, alias="SITE", address=None, port=0, headers={"X": "y"}, handlers=[{"dir": "/"}])
prefork.PreForkServer(kernel, min_spare_servers=5, max_clients=8, ipc_glue=5, log_handler=("A", "B"))
"""
WRONG = """\
import prefork
kernel = prefork.Kernel()
prefork.run("shop:app", wokers=4)
prefork.run("shop:app", workers=[4])
prefork.run("shop:app", loop="trio")
prefork.HTTPServer(kernel, prot=80)
prefork.HTTPServer(kernel, max_clients=8)
prefork.PreForkServer(kernel, max_client=8)
"""


def check(folder: Path, source: str) -> list[str]:
    """The lines that mypy prints about a program."""
    (folder / "program.py").write_text(source)
    cache = ("--cache-dir", str(folder))
    command = [sys.executable, "-m", "mypy", "--strict", *cache, str(folder / "program.py")]
    # In a process of its own: mypy changes when its process collects garbage.
    mypy = subprocess.run(command, capture_output=True, text=True, check=False)
    assert mypy.stderr == ""
    return mypy.stdout.splitlines()[:-1]


@pytest.fixture(autouse=True)
def _in_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no configuration
    monkeypatch.setenv("MYPYPATH", str(Path(__file__).parents[3] / "python"))


def test_options_that_exist_and_no_others(tmp_path: Path) -> None:
    assert check(tmp_path, RIGHT) == []
    wrong = [line for line in check(tmp_path, WRONG) if "error:" in line]
    assert [int(line.split(":")[1]) for line in wrong] == [3, 4, 5, 6, 7, 8]
    assert "wokers" in wrong[0]


def test_every_option_is_a_keyword_of_run() -> None:
    from prefork.config.keywords import RunKeywords

    assert RunKeywords.__annotations__.keys() == EXTERNAL.keys()
