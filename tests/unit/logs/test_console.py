from __future__ import annotations

import subprocess
import sys

import pytest

SAYS = "from prefork.logs.console import print_line; print_line('hello'); print_line('again')"


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "| true"])
def test_a_closed_output_is_no_reason_to_fail(redirection):
    script = f'set -o pipefail; "$0" -c "$1" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, SAYS],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_said_at_once():
    done = subprocess.run(
        [sys.executable, "-c", SAYS + "; import os; os._exit(0)"],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "hello\nagain\n"


MISSING = """
import os, sys
from prefork.logs.console import open_missing
open_missing()
print("lost", file=sys.stdout, flush=True)
print("lost", file=sys.stderr, flush=True)
names = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}
os._exit(0 if names == {"/dev/null"} and sys.stdin.read() == "" else 1)
"""


def test_descriptors_that_were_closed_at_the_start_are_no_socket_of_the_server_later():
    script = '"$0" -c "$1" <&- >&- 2>&-'
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, MISSING], env=environment, timeout=30, check=False
    )
    assert done.returncode == 0
