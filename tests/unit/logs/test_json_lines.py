from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefork.logs import console, formats, handler
from prefork.logs.handler import LogHandler
from prefork.logs.json_lines import JSONFormatter, json_line, replace_bare_messages

HOSTILE = '/a\nx\r"\\\x1b[31m\x85\u2028\u202e\ud800\x00é{"level":"FORGED"}\t'
SHOWN = '/a\nx\\r"\\\\x1b[31m\\x85\\u2028\\u202e\\ud800\\x00é{"level":"FORGED"}\t'
OURS, THEIRS = logging.getLogger("prefork.server"), logging.getLogger("shop.cart")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class Stream:
    """What was written, as lines."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    @property
    def lines(self) -> list[dict[str, Any]]:
        assert self.text.isascii()
        assert self.text.endswith("\n")
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """What a handler of this format writes, which is the only one of the root."""
    stream = Stream()
    handler = LogHandler(stream)  # type: ignore[arg-type]
    handler.setFormatter(JSONFormatter())
    monkeypatch.setattr(logging.root, "handlers", [handler])
    return stream


def test_a_line_has_what_a_collector_needs(stream: Stream) -> None:
    OURS.error("%d of %s", 3, "four")
    (line,) = stream.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("pid") > 1
    assert line == {"level": "ERROR", "logger": "prefork.server", "message": "3 of four"}


@pytest.mark.parametrize(
    ("created_s", "time"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (951_782_400.0006, "2000-02-29T00:00:00.001Z"),
        (1_700_000_000.9996, "2023-11-14T22:13:21.000Z"),
    ],
)
def test_the_time_is_rounded_as_a_whole(created_s: float, time: str) -> None:
    assert json.loads(json_line(created_s, "INFO", "x", "y", 1, {}))["time"] == time


def test_whatever_a_client_sent_is_valid_and_controls_nothing(stream: Stream) -> None:
    THEIRS.error("no page %s", HOSTILE)
    OURS.error("no page %s", HOSTILE)
    theirs, ours = stream.lines
    assert theirs["message"] == f"no page {SHOWN}"
    assert "\x1b" not in ours["message"]
    assert "\n" not in ours["message"]


@pytest.mark.parametrize("logger", [OURS, THEIRS])
def test_the_text_of_an_exception_is_a_field(stream: Stream, logger: logging.Logger) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("it failed", extra={"request_id": "7", "trace_id": "f" * 32})
    (line,) = stream.lines
    assert line["message"] == "it failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n  File")
    assert line["exception"].endswith(f"ValueError: {SHOWN}")
    assert (line["request_id"], line["trace_id"]) == ("7", "f" * 32)


def test_a_record_that_cannot_be_formatted_is_a_line_too() -> None:
    def line(text: str, *args: object, error: BaseException | None = None) -> dict[str, Any]:
        info = None if error is None else (type(error), error, None)
        record = logging.LogRecord("shop", logging.ERROR, __file__, 1, text, args, info)
        shown: dict[str, Any] = json.loads(JSONFormatter().format(record))
        return shown

    assert "cannot be formatted: TypeError" in line("%d", "three")["message"]
    assert "cannot be formatted" in line("%s", Unspeakable())["message"]
    assert line("it failed", error=Unspeakable())["message"] == "it failed"


def test_where_a_record_was_made_is_a_field_if_it_is_wanted(stream: Stream) -> None:
    THEIRS.error("here", stack_info=True)
    assert stream.lines[0]["stack"].startswith("Stack (most recent call last):")


@pytest.fixture
def json_format(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    """The format of this process is JSON; what its own handler writes."""
    stream = Stream()
    ours = LogHandler(stream)  # type: ignore[arg-type]
    for module in (handler, formats):
        monkeypatch.setattr(module, "standard_error", lambda: ours)
    monkeypatch.setattr("prefork.logs.json_lines.standard_error", lambda: ours)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging.root, "handlers", [ours])
    formats.set_format("json")
    yield stream
    formats.set_format("text")


def test_the_format_changes_while_the_handler_is_in_use(json_format: Stream) -> None:
    OURS.error("it failed")
    assert json_format.lines[0]["message"] == "it failed"
    formats.set_format("text")
    before = len(json_format.text)
    OURS.error("it failed")
    assert json_format.text[before:].endswith(" ERROR prefork.server: it failed\n")


@pytest.mark.usefixtures("json_format")
def test_what_is_said_outside_of_logging_has_the_format(capfd: pytest.CaptureFixture[str]) -> None:
    console.complain(HOSTILE, "Traceback\n  \x1b")
    console.announce("serving http://127.0.0.1:1")
    out, err = capfd.readouterr()
    (complaint,), (news,) = ([json.loads(line) for line in text.splitlines()] for text in (err, out))
    assert (complaint["level"], complaint["logger"], complaint["message"]) == ("CRITICAL", "prefork", SHOWN)
    assert complaint["exception"] == "Traceback\n  \\x1b"
    assert (news["level"], news["message"]) == ("INFO", "serving http://127.0.0.1:1")
    formats.set_format("text")
    console.complain("no such file", "Traceback\n")
    assert capfd.readouterr().err == "Traceback\nprefork: no such file\n"


def test_what_python_would_print_is_a_line(json_format: Stream) -> None:
    replace_bare_messages()
    error = ValueError("a fault")
    sys.excepthook(ValueError, error, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    def fail() -> None:
        raise LookupError("in a thread")

    thread = threading.Thread(target=fail, name="counter")
    thread.start()
    thread.join()
    first, second = json_format.lines
    assert first["message"] == "the process ends: ValueError('a fault')"
    assert "ValueError: a fault" in first["exception"]
    assert second["message"] == "the thread counter ends: LookupError('in a thread')"
    assert "raise LookupError" in second["exception"]


def test_a_line_of_text_names_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    monkeypatch.setattr(logging.root, "handlers", [LogHandler(stream)])  # type: ignore[arg-type]
    OURS.error("it failed", extra={"request_id": "7"})
    OURS.error("it failed")
    first, second = stream.text.splitlines()
    assert first.endswith(" ERROR prefork.server: [7] it failed")
    assert second.endswith(" ERROR prefork.server: it failed")
