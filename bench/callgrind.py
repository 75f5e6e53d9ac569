"""A server under valgrind's callgrind, which counts the instructions that it runs in user space.

Owns: the command that starts it so, and the counter of the process that serves. Always: the count is of that
process alone, whatever started it, and of all its threads.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.servers import Recipe

START_S = 120.0
"""Under valgrind everything takes about fifty times as long."""
READ_S = 60.0


def counted(recipe: Recipe, counts: Path) -> Recipe:
    """The same server under callgrind, its counts in that directory.

    The hashes of strings are the same in each run, so that dicts are too.
    """
    command = recipe.command
    tool = ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={counts}/%p"]

    def make(port: int, directory: Path) -> list[str]:
        return ["env", "PYTHONHASHSEED=0", *tool, *command(port, directory)]

    return dataclasses.replace(recipe, command=make, start_s=START_S)


def counter(pid: int, counts: Path) -> Callable[[], int]:
    """Of one process under callgrind: each call returns the instructions since the call before it."""
    number = 0

    def read() -> int:
        nonlocal number
        number += 1
        subprocess.run(["vgdb", f"--pid={pid}", "dump"], capture_output=True, timeout=READ_S, check=True)
        dump = counts / f"{pid}.{number}"
        total = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
        if total is None:
            raise RuntimeError(f"no total in {dump.name}")
        return int(total[1])

    return read
