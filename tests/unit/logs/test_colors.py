"""Colors of the log of `prefork dev`."""

from __future__ import annotations

import io
import logging

import pytest

from prefork.logs.colors import ColorFormatter, takes_colors


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("prefork", level, "file.py", 1, text, (), None)


def test_the_first_line_has_the_color_of_its_level_and_what_it_says_is_escaped() -> None:
    text = ColorFormatter(in_colors=True).format(record(logging.ERROR, "one \x1b[32m\ntwo"))
    first, second = text.split("\n")
    assert first.startswith("\x1b[31m")
    assert first.endswith("\x1b[m")
    assert "\x1b[32m" not in text
    assert second.endswith("two")


def test_without_colors_there_are_none() -> None:
    assert "\x1b" not in ColorFormatter(in_colors=False).format(record(logging.ERROR, "text"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_variables_decide(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert takes_colors(io.StringIO()) is expected
    assert takes_colors(None) is expected
