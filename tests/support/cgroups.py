"""Control groups for tests: what all processes of a server may have together. Only root can make them."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
FILES = {
    "pids": (("pids.max", "pids.current"), ("pids.max", "pids.current")),
    "memory": (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ),
}
"""What is the limit of a controller, and its use, in version 2 and in version 1."""

_numbers = itertools.count(1)


class Cgroup:
    """One group with one controller."""

    def __init__(self, path: Path, limit: str, current: str) -> None:
        self._path = path
        self._limit = limit
        self._current = current

    def enter(self) -> None:
        """For a new process (`preexec_fn`): it and its children are of the group."""
        (self._path / "cgroup.procs").write_text(f"{os.getpid()}")

    @property
    def current(self) -> int:
        return int((self._path / self._current).read_text())

    @contextlib.contextmanager
    def limited(self, most: int) -> Iterator[None]:
        """The processes of the group may have no more."""
        file = self._path / self._limit
        before = file.read_text()
        file.write_text(f"{most}")
        try:
            yield
        finally:
            file.write_text(before)

    def remove(self) -> None:
        """When its last process has ended."""
        for _ in range(200):
            with contextlib.suppress(OSError):
                self._path.rmdir()
                return
            time.sleep(0.05)


@contextlib.contextmanager
def make_cgroup(controller: str) -> Iterator[Cgroup]:
    """Skips the test where there is none."""
    second, first = FILES[controller]
    is_first = (ROOT / controller).is_dir()
    parent, files = (ROOT / controller, first) if is_first else (ROOT, second)
    path = parent / f"prefork-test-{os.getpid()}-{next(_numbers)}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    if not (path / files[0]).exists():
        path.rmdir()
        pytest.skip(f"no control group of {controller} can be made here")
    group = Cgroup(path, *files)
    try:
        yield group
    finally:
        group.remove()
