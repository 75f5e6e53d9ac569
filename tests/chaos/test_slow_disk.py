"""A disk that does not respond: it holds up the worker that waits for it, and no other connection."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pool import MakePool, pid_serving
from support.processes import alive
from support.responses import read_response
from support.waiting import wait_until

LENGTH = 3_000_000
UPLOAD = b"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LENGTH + b"x" * LENGTH


class Disk:
    """A file system of its own. While it is frozen, what writes to it waits."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def freeze(self) -> None:
        subprocess.run(["fsfreeze", "-f", self.path], check=True)

    def thaw(self) -> None:
        subprocess.run(["fsfreeze", "-u", self.path], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.ext4", "mount", "fsfreeze"))):
        pytest.skip("only root can freeze a file system")
    image, path = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    path.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, path], check=False).returncode:
        pytest.skip("this machine mounts no file system")
    disk = Disk(path)
    yield disk
    disk.thaw()
    # Lazily: a worker may still have a file open.
    subprocess.run(["umount", "-l", path], check=True)


def test_a_body_that_cannot_be_stored_is_a_504_and_other_connections_move(pool: MakePool, disk: Disk) -> None:
    server = pool("--workers", "3", request_timeout=1, spool_dir=str(disk.path))
    server.wait_workers(3)
    stuck, (upload, kept) = server.connect_to_one_worker()

    def send() -> None:
        with contextlib.suppress(OSError):  # the response comes before all is sent
            upload.sendall(UPLOAD)

    sender = threading.Thread(target=send)
    disk.freeze()
    try:
        sender.start()
        wait_until(lambda: _waits(stuck), "it to wait for the disk")
        assert pid_serving(kept) != stuck
        assert read_response(upload)[0] == 504
        assert pid_serving(kept) != stuck
    finally:
        disk.thaw()
        sender.join()
    wait_until(lambda: not alive(stuck), "it to end")
    server.wait_workers(3)


def _waits(pid: int) -> bool:
    """Whether a process is in a wait that no signal ends."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"
