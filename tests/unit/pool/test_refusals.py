"""Which errors are taken for those of the sandbox, and what the hint says."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from pathlib import Path

import pytest

from prefork.pool.refusals import MOST_HINTS, Refusals


@pytest.fixture
def refusals(tmp_path: Path) -> Refusals:
    return Refusals([str(tmp_path / "allowed"), "/dev/null"], {5432})


def denied(path: object = None, other: object = None, number: int = errno.EACCES) -> OSError:
    return OSError(number, os.strerror(number), path, None, other)


def test_a_path_that_the_user_may_change_was_refused_by_the_sandbox(
    refusals: Refusals, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    expected = f"--sandbox refused to change {new}: add --sandbox-write {tmp_path}, if it may"
    assert refusals.hint(denied(str(new))) == expected
    assert refusals.hint(denied(os.fsencode(new))) == expected
    new.touch()
    assert refusals.hint(denied(str(new))) == expected
    assert refusals.hint(denied(str(tmp_path), number=errno.EPERM)) == (
        f"--sandbox refused to change {tmp_path}: add --sandbox-write {tmp_path}, if it may"
    )
    moved = denied(str(tmp_path / "allowed" / "a"), str(tmp_path / "b"), errno.EXDEV)
    assert refusals.hint(moved) == (
        f"--sandbox refused to change {tmp_path / 'b'}: add --sandbox-write {tmp_path}, if it may"
    )


def test_what_the_sandbox_allows_or_the_user_may_not_do_has_no_hint(
    refusals: Refusals, tmp_path: Path
) -> None:
    assert refusals.hint(denied(str(tmp_path / "allowed" / "x"))) is None
    assert refusals.hint(denied("/dev/null")) is None
    assert refusals.hint(denied("/is/not/there")) is None
    assert refusals.hint(denied(str(tmp_path / "new"), number=errno.ENOENT)) is None
    assert refusals.hint(ValueError("permission")) is None


def test_a_cause_is_looked_for_in_the_whole_chain(refusals: Refusals, tmp_path: Path) -> None:
    cause = denied(str(tmp_path / "new"))
    outer = RuntimeError("the shop is closed")
    outer.__cause__ = ExceptionGroup("several", [KeyError("a"), cause])
    cause.__context__ = outer  # a circle
    assert refusals.hint(outer) == refusals.hint(cause)


@pytest.mark.parametrize(
    ("error", "port"),
    [
        (denied(), None),
        (OSError(errno.EACCES, "Connect call failed ('127.0.0.1', 6379)"), 6379),
        (RuntimeError('connection to server at "db", port 5433 failed: Permission denied'), 5433),
        (RuntimeError("Error 13 connecting to localhost:6379. Permission denied."), 6379),
    ],
)
def test_a_connection_that_was_refused_is_hinted_at_with_its_port(
    refusals: Refusals, error: Exception, port: int | None
) -> None:
    hint = refusals.hint(error)
    assert hint is not None
    assert f"--sandbox-connect {port or 'with its port'}" in hint
    assert Refusals([], None).hint(error) is None, "all ports are allowed"


def test_a_database_that_cannot_be_written_is_hinted_at(refusals: Refusals) -> None:
    for text in ("attempt to write a readonly database", "unable to open database file"):
        assert "--sandbox-write" in (refusals.hint(sqlite3.OperationalError(text)) or "")


def test_a_signal_or_a_call_that_was_refused_is_hinted_at(refusals: Refusals) -> None:
    assert "a signal to another process" in (refusals.hint(denied(number=errno.EPERM)) or "")


def test_each_hint_is_logged_once_whichever_logger_has_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    former = logging.getLogRecordFactory()
    try:
        refusals = Refusals([], set())
        refusals.explain()
        for number in range(MOST_HINTS * 2):
            for _ in range(2):
                logging.getLogger("shop").error("failed", exc_info=denied(str(tmp_path / str(number))))
        logging.getLogger("shop").error("without one")
    finally:
        logging.setLogRecordFactory(former)
    hints = [record.getMessage() for record in caplog.records if record.name == "prefork.worker"]
    assert len(hints) == len(set(hints)) == MOST_HINTS


def test_an_error_that_cannot_be_shown_is_no_harm(refusals: Refusals) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert refusals.hint(Unspeakable()) is None
