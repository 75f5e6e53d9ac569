"""The process that opens the files of TLS, here without root."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from prefork.server.root_reader import RootReader


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for path in made:
        path.write_text(path.name)
    return made


@pytest.fixture
def reader(files: list[Path]) -> contextlib.closing[RootReader]:
    return contextlib.closing(RootReader(list(map(str, files))))


def content(reader: RootReader, path: Path) -> str:
    with open(reader.open(str(path))) as file:
        return file.read()


def refusal(reader: RootReader, path: Path) -> OSError:
    with pytest.raises(OSError, match="Errno") as raised:
        reader.open(str(path))
    return raised.value


def test_it_opens_the_files_as_they_are_then(
    reader: contextlib.closing[RootReader], files: list[Path]
) -> None:
    with reader as opened:
        assert [content(opened, path) for path in files] == ["one", "two"]
        files[1].with_name("new").write_text("renewed")
        os.replace(files[1].with_name("new"), files[1])
        assert content(opened, files[1]) == "renewed"
        descriptor = opened.open(str(files[0]))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


def test_what_it_cannot_open_is_an_error_of_that_file(
    reader: contextlib.closing[RootReader], files: list[Path]
) -> None:
    with reader as opened:
        files[0].unlink()
        assert refusal(opened, files[0]).errno == errno.ENOENT
        assert content(opened, files[1]) == "two"
        with pytest.raises(ValueError, match="/etc/passwd"):
            opened.open("/etc/passwd")


def test_a_manager_without_a_free_descriptor_is_told(
    reader: contextlib.closing[RootReader], files: list[Path]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with reader as opened:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            error = refusal(opened, files[0])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert error.errno == errno.EMFILE
        assert content(opened, files[1]) == "two"


def test_one_that_has_ended_is_said_each_time(
    reader: contextlib.closing[RootReader], files: list[Path]
) -> None:
    with reader as opened:
        os.kill(opened._pid, signal.SIGKILL)
        for _ in range(2):
            assert refusal(opened, files[0]).strerror == "the process that reads it as root has ended"


def test_nothing_of_it_is_left(reader: contextlib.closing[RootReader]) -> None:
    with reader as opened:
        pid = opened._pid
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
