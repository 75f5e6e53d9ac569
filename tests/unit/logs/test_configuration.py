"""Logging as a file or a dict configures it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork.errors import OptionError
from prefork.logs.configuration import configure

STREAM = io.StringIO()
"""What the configurations below write to."""

DICT: dict[str, Any] = {
    "formatters": {
        "json": {"()": "prefork.logs.JSONFormatter"},
        "own": {"class": "prefork.logs.LineFormatter", "format": "%(levelname)s|%(message)s"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "own",
            "stream": f"ext://{__name__}.STREAM",
        }
    },
    "loggers": {"prefork": {"level": "WARNING"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
TOML = f"""
[formatters.own]
class = "prefork.logs.LineFormatter"
format = "%(levelname)s|%(message)s"
[handlers.console]
class = "logging.StreamHandler"
formatter = "own"
stream = "ext://{__name__}.STREAM"
[loggers.prefork]
level = "WARNING"
[root]
handlers = ["console"]
level = "INFO"
"""
INI = f"""
[loggers]
keys = root, prefork
[handlers]
keys = console
[formatters]
keys = own
[formatter_own]
class = prefork.logs.LineFormatter
format = %(levelname)s|%(message)s
[handler_console]
class = StreamHandler
formatter = own
args = (__import__("sys").modules["{__name__}"].STREAM,)
[logger_root]
level = INFO
handlers = console
[logger_prefork]
level = WARNING
handlers =
qualname = prefork
"""


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores logging."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(logging.root, "handlers", [])
    ours, root = logging.getLogger("prefork"), logging.root
    levels = ours.level, root.level
    STREAM.seek(0)
    STREAM.truncate()
    yield
    ours.setLevel(levels[0])
    root.setLevel(levels[1])


def written() -> list[str]:
    logging.getLogger("prefork.server").info("too little")
    logging.getLogger("prefork.server").error("a\x1b%s", "b\nc")
    logging.getLogger("shop").info("sold\x1b")
    return STREAM.getvalue().splitlines()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.json", json.dumps(DICT)),
        ("log", json.dumps(DICT)),
        ("log.toml", TOML),
        ("log", TOML),
        ("log.ini", INI),
        ("log.conf", INI),
        ("log", INI),
    ],
)
def test_a_file_is_applied_with_our_escaping(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    configure(str(file))
    assert written() == ["ERROR|a\\x1bb\\nc", "INFO|sold\\x1b"]


def test_a_dict_is_applied() -> None:
    configure(DICT)
    assert written() == ["ERROR|a\\x1bb\\nc", "INFO|sold\\x1b"]


def test_records_can_be_json() -> None:
    handlers = {"console": DICT["handlers"]["console"] | {"formatter": "json"}}
    configure(DICT | {"handlers": handlers})
    assert [json.loads(line)["message"] for line in written()] == ["a\\x1bb\\nc", "sold\\x1b"]


def test_our_handler_can_be_named(capfd: pytest.CaptureFixture[str]) -> None:
    handlers = {"console": {"class": "prefork.logs.LogHandler", "stream": "ext://sys.stderr"}}
    configure(DICT | {"handlers": handlers})
    written()
    assert capfd.readouterr().err.splitlines()[0].endswith(" ERROR prefork.server: a\\x1bb\\nc")


def test_a_logger_that_is_not_named_stays_enabled() -> None:
    logger = logging.getLogger("shop.cart")
    configure(DICT)
    assert not logger.disabled
    configure(DICT | {"disable_existing_loggers": True})
    assert logger.disabled
    logger.disabled = False


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("log.json", "{", "Expecting property name"),
        ("log.json", "[]", "expected an object, got []"),
        ("log.json", '{"version": 2}', "Unsupported version: 2"),
        (
            "log.json",
            '{"handlers": {"x": {"class": "no.Such"}}}',
            "Unable to configure handler 'x': Cannot resolve",
        ),
        ("log.json", '{"root": {"handlers": ["x"]}}', "Unable to add handler 'x': 'x' is missing"),
        ("log.json", '{"root": {"level": "LOUD"}}', "LOUD"),
        (
            "log.json",
            '{"handlers": {"x": {"class": "logging.FileHandler", "filename": "/no/such/file"}}}',
            "No such file or directory: '/no/such/file'",
        ),
        ("log.toml", "a = ", "Invalid value"),
        ("log.ini", "[handlers]\nkeys=x\n", "expected JSON, TOML, or INI with the section [loggers]"),
        ("log.ini", "[loggers]\nkeys=root\n", "'formatters' is missing"),
        ("log.ini", "keys=root\n", "File contains no section headers"),
        ("log", "what is this", "File contains no section headers"),
        ("log", b"\xff\xfe", "codec can't decode byte"),
    ],
)
def test_a_mistake_is_one_line_with_the_file(
    tmp_path: Path, name: str, content: str | bytes, reason: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OptionError) as raised:
        configure(str(file))
    text = str(raised.value)
    assert text.startswith(f"log_config {file}: ")
    assert reason in text
    assert len(text.splitlines()) == 1


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as raised:
        configure(str(tmp_path / "none.json"))
    assert str(raised.value) == f"log_config {tmp_path}/none.json: No such file or directory"


def test_a_mistake_in_a_dict_has_no_file() -> None:
    with pytest.raises(OptionError, match=r"^log_config: Unsupported version: 7$"):
        configure({"version": 7})
