"""logrotate with the file of deploy/: it renames the access log of a server at work, and no line is lost."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from support.apps import APPS
from support.deploy import edited
from support.load import Load
from support.server import Serve
from support.waiting import wait_until

LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate")
ROTATIONS = 4


def lines(directory: Path) -> int:
    """Those of all files, whether they are compressed or not."""
    texts = [
        gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in directory.iterdir()
    ]
    return sum(text.count(b"\n") for text in texts)


def test_no_line_is_lost_when_the_file_is_rotated(serve: Serve, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(0o755)
    log, configuration, state = logs / "access.log", tmp_path / "logrotate", tmp_path / "state"
    # The user of prefork.service is not on this machine; the directory is this user's.
    configuration.write_text(edited("logrotate", {"/var/log/shop": str(logs), "    su shop shop\n": ""}))
    configuration.chmod(0o644)
    server = serve(Path(f"{APPS}/origins.py:wsgi"), "--workers", "3", "--access-log", str(log))
    assert LOGROTATE
    with Load(server, 6, "/", pause_s=0.001) as load:
        for _ in range(ROTATIONS):
            load.more(200)
            subprocess.run([LOGROTATE, "--force", "--state", state, configuration], check=True, timeout=30)
            load.more(50)
            wait_until(log.exists, "a new file")
    assert load.lost == []
    served = load.responses.total()
    wait_until(lambda: lines(logs) == served, f"{served} lines")
    names = {"access.log", "access.log.1", *(f"access.log.{number}.gz" for number in range(2, ROTATIONS + 1))}
    assert {file.name for file in logs.iterdir()} == names
    assert server.status()["manager"]["stopping"] is False
    assert "ERROR" not in server.log
