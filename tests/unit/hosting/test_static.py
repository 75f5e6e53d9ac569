"""What the system may refuse that no test can make it refuse to root."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.hosting.static.directory import Directory
from support.engine import RunEngine


@pytest.mark.parametrize(
    ("number", "status", "logged"),
    [
        (errno.EACCES, 403, False),
        (errno.ELOOP, 404, False),
        (errno.EMFILE, 500, True),
        (errno.EIO, 500, True),
    ],
)
def test_a_file_that_cannot_be_opened(
    run_engine: RunEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    status: int,
    logged: bool,
) -> None:
    (tmp_path / "a.txt").write_text("there")
    directory = Directory(str(tmp_path))

    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    one = run_engine(lambda request, response: directory.respond(request, response, "a.txt"))
    monkeypatch.setattr(os, "open", refuse)
    with caplog.at_level(logging.ERROR):
        assert one.get("/").status == status
    assert (f"{tmp_path}/a.txt cannot be sent: {os.strerror(number)}" in caplog.text) == logged


def test_a_name_from_a_client_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request: Any = SimpleNamespace(id="7", trace_id=None)
    error = OSError(errno.EIO, "Input/output error")
    Directory(str(tmp_path))._refused("a\n2026-01-01 FORGED\x1b", error, request)
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "7"
    assert "a\\n2026-01-01 FORGED\\x1b cannot be sent" in record.getMessage()
