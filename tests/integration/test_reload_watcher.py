"""The process that watches the files of a project for a reload: what it tells of."""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.waiting import DEADLINE_S

LIMITED = "unshare --user --map-root-user sh -c 'echo 1 > /proc/sys/user/max_inotify_watches; exec \"$@\"' -"
"""Starts a program that may watch one directory."""


class Watcher:
    """Watches `root` and what is below it."""

    def __init__(self, root: Path, *prefix: str, **order: Any) -> None:
        self.root = root
        given = {"parent": os.getpid(), "since_ns": time.time_ns(), "roots": [str(root)]}
        given |= {"include": [], "exclude": []} | order
        command = [*prefix, sys.executable, "-m", "prefork.hosting.reloading.watcher", json.dumps(given)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._told: queue.Queue[list[str] | str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._told.put(json.loads(line))

    def tells(self) -> list[str] | str:
        """The next line: names below the root, or a text."""
        told = self._told.get(timeout=DEADLINE_S)
        return told if isinstance(told, str) else [os.path.relpath(path, self.root) for path in told]

    def tells_of(self, name: str) -> None:
        """A line with this name comes. Others may come before, for what has led to it."""
        while name not in self.tells():
            pass

    def save(self, name: str) -> None:
        """Save a file, and see that it is told of."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {time.monotonic_ns()}\n")
        self.tells_of(name)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "view.py").write_text("")
    one = Watcher(tmp_path)
    one.save("app.py")
    yield one
    one.kill()


def test_a_directory_that_has_come_again_is_watched(watcher: Watcher, tmp_path: Path) -> None:
    """As another branch of a repository makes it."""
    for _ in range(3):
        watcher.save("shop/view.py")
        shutil.rmtree(tmp_path / "shop")
        watcher.save("shop/view.py")


def test_old_files_in_a_directory_that_takes_the_place_of_another_have_changed(
    watcher: Watcher, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (other / "deep" / "old.py").write_text("")
    watcher.tells_of("other/deep/old.py")
    os.utime(other / "deep" / "old.py", (1, 1))
    shutil.rmtree(tmp_path / "shop")
    other.rename(tmp_path / "shop")
    watcher.tells_of("shop/deep/old.py")
    watcher.save("shop/deep/old.py")


def test_a_directory_that_is_moved_away_has_changed(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "shop").rename(tmp_path / ".hidden" / "shop")
    watcher.tells_of("shop")


def test_directories_that_come_and_go_do_not_end_it(watcher: Watcher, tmp_path: Path) -> None:
    for number in range(300):
        path = tmp_path / f"passing{number % 7}"
        path.mkdir()
        path.rmdir()
    watcher.save("shop/view.py")


def test_it_says_why_it_cannot_watch(tmp_path: Path) -> None:
    limited = shlex.split(LIMITED)
    if subprocess.run([*limited, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a user namespace with limits cannot be made here")
    (tmp_path / "shop").mkdir()
    one = Watcher(tmp_path, *limited)
    try:
        told = one.tells()
        assert isinstance(told, str)
        assert told.startswith("2 directories cannot be watched: OS file watch limit reached (raise fs.")
        assert one.process.wait(DEADLINE_S) == 0
    finally:
        one.kill()
