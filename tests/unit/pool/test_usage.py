"""What the system says of a worker's process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from prefork.pool import usage as module
from prefork.pool.usage import Usage, usage

HUNGRY = """
import sys, time
kept = b"x" * (32 << 20)
while time.process_time() < 0.3: pass
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child():
    command = [sys.executable, "-c", HUNGRY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


def test_a_child_has_cpu_time_and_memory(child):
    found = usage(child, os.getpid(), pss=True)
    assert found.cpu_s is not None
    assert found.cpu_s >= 0.25
    assert found.rss is not None
    assert found.pss is not None
    assert found.rss >= found.pss > 32 << 20


def test_what_is_dear_is_read_only_if_asked_for(child):
    assert usage(child, os.getpid()).pss is None


def test_a_pid_that_is_no_child_of_the_manager_says_nothing(child):
    for pid, manager in ((os.getpid(), os.getpid()), (child, 1), (0, 0), (-1, 1), (1 << 40, 1)):
        assert usage(pid, manager) == Usage()


def test_a_name_with_brackets_and_spaces_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    stat = tmp_path / "7" / "stat"
    rest = " ".join(map(str, range(1, 50)))
    stat.write_text(f"7 (a) b ( c) S {rest}\n")
    found = usage(7, 1)
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert found == Usage(cpu_s=round((11 + 12) / ticks, 3), rss=21 * page)
    for broken in ("", "7 (a", "7 (a) S", "7 (a) S x"):
        stat.write_text(broken)
        assert usage(7, 1) == Usage()
