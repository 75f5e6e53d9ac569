from __future__ import annotations

import contextlib
import io
import logging
import logging.config
import os
import re
import select
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from prefork.logs import handler as module
from prefork.logs.handler import LogHandler
from prefork.logs.logger import NAMES, Lines

FORGED = "2026-01-01 00:00:00,000 1 CRITICAL prefork: FORGED"


class Unspeakable(Exception):
    """Its author's mistake: neither text can be made."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the handler writes, as the only handler of the root."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [LogHandler(stream)])
    return stream


@pytest.fixture
def theirs() -> Iterator[logging.Logger]:
    """A logger of an application."""
    logger = logging.getLogger("shop.cart")
    yield logger
    for name in ("shop.cart", "shop"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)


OURS = logging.getLogger("prefork.server")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_client_sent_is_one_line_of_each_of_our_loggers(stream, name):
    logging.getLogger(name).error(
        "%s failed on %s", "app", f"/a\n{FORGED}\r\x1b[31m\x85\u2028\u202e\ud800\x00é"
    )
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(
        f" ERROR {name}: app failed on /a\\n{FORGED}\\r\\x1b[31m\\x85\\u2028\\u202e\\ud800\\x00é"
    )


def test_a_handler_of_the_application_gets_it_escaped(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(stream)])
    OURS.error("%s failed: %s", ValueError(f"\n{FORGED}"), f"\x1b\n{FORGED}")
    assert stream.getvalue() == f"\\n{FORGED} failed: \\x1b\\n{FORGED}\n"


def test_a_handler_of_the_application_gets_a_traceback_escaped(monkeypatch):
    theirs = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(theirs)])
    OURS.error("failed", exc_info=ValueError(f"several\n{FORGED}\x1b"))
    assert theirs.getvalue() == f"failed\nValueError: several\n  {FORGED}\\x1b\n"


def test_a_traceback_is_escaped_once(stream):
    OURS.error("failed", exc_info=ValueError(f"several\n{FORGED}\x1b"))
    assert stream.getvalue().endswith(f": failed\n  ValueError: several\n  {FORGED}\\x1b\n")


def test_numbers_are_still_numbers(stream):
    OURS.error("%d of %.1f %g %s %r", 1, 2.5, 3.0, None, True)
    assert stream.getvalue().endswith(": 1 of 2.5 3 None True\n")


def test_a_text_of_several_lines_may_be_logged_as_such(stream):
    OURS.error("%s", Lines("first\nsecond\x1b"))
    assert stream.getvalue().endswith(": first\n  second\\x1b\n")


def test_the_messages_of_an_application_keep_their_lines_but_none_looks_like_a_record(stream, theirs):
    theirs.error(f"table:\n\ta\tb\n{FORGED}\x1b")
    first, *others = stream.getvalue().split("\n")
    assert first.endswith(" ERROR shop.cart: table:")
    assert others == ["  \ta\tb", f"  {FORGED}\\x1b", ""]


def test_no_line_of_a_traceback_looks_like_a_record(stream, theirs):
    try:
        raise ValueError(f"several\n{FORGED}\x1b")
    except ValueError as error:
        error.add_note(FORGED)
        theirs.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[-3:] == ["  ValueError: several", f"  {FORGED}\\x1b", f"  {FORGED}"]


@pytest.mark.parametrize("name", ["prefork.server", "shop.cart"])
@pytest.mark.parametrize(
    ("message", "arguments", "error", "text"),
    [
        ("%s and %r", (Unspeakable, Unspeakable), None, " and "),
        ("it failed", (), Unspeakable, "it failed"),
        ("%d", ("no number",), None, "'%d' at test_handler.py:7 cannot be formatted: TypeError"),
        (Unspeakable, (), None, "<Unspeakable: its repr() raises SystemExit> at test_handler.py:7 cannot be"),
    ],
)
def test_a_line_is_logged_whatever_its_arguments_do(name, message, arguments, error, text):
    stream = io.StringIO()
    message, *arguments = (made() if made is Unspeakable else made for made in (message, *arguments))
    info = None if error is None else (error, error(), None)
    make = logging.getLogger(name).makeRecord
    record = make(name, 40, "test_handler.py", 7, message, tuple(arguments), info)
    LogHandler(stream).handle(record)
    first, *others = stream.getvalue().splitlines()
    assert text in first
    assert re.match(rf"\d{{4}}-.* ERROR {name}: ", first)
    assert all(line.startswith("  ") for line in others)


@pytest.mark.parametrize("later", [False, True])
def test_no_configuration_silences_our_loggers(monkeypatch, later):
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [LogHandler(io.StringIO())])
    if later:
        OURS.error("before")
    try:
        handlers = {"h": {"class": "logging.StreamHandler", "stream": stream}}
        logging.config.dictConfig({"version": 1, "handlers": handlers, "root": {"handlers": ["h"]}})
        for name in NAMES:
            logging.getLogger(name).error("heard")
    finally:
        for logger in logging.root.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False
    assert stream.getvalue() == "heard\n" * len(NAMES)


def test_without_any_handler_ours_is_used(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr("prefork.logs.logger.standard_error", lambda: LogHandler(stream))
    OURS.error("%s", f"\n{FORGED}")
    assert stream.getvalue().endswith(f"ERROR prefork.server: \\n{FORGED}\n")


def test_if_a_handler_of_the_application_raises_ours_is_used(monkeypatch):
    class Fails(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            raise ConnectionError("the collector of logs is away")

    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [Fails()])
    monkeypatch.setattr("prefork.logs.logger.standard_error", lambda: LogHandler(stream))
    OURS.error("heard")
    assert stream.getvalue().endswith("ERROR prefork.server: heard\n")


@pytest.mark.parametrize("of", [logging.root, OURS], ids=["root", "ours"])
def test_if_a_handler_of_the_application_would_wait_for_its_reader_ours_is_used(monkeypatch, of):
    ours = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr("prefork.logs.logger.standard_error", lambda: LogHandler(ours))
    reader, writer = os.pipe()
    with open(reader, "rb") as read, open(writer, "w") as pipe:
        monkeypatch.setattr(of, "handlers", [logging.StreamHandler(pipe)])
        OURS.error("read")
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(select.PIPE_BUF))
        OURS.error("not read")
        assert read.read(5) == b"read\n"
    assert ours.getvalue().endswith("ERROR prefork.server: not read\n")
    assert ours.getvalue().count("\n") == 1


def test_it_is_installed_unless_there_is_another(monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    module.install()
    module.install()
    assert logging.root.handlers == [module.standard_error()]
    logging.root.handlers[:] = [other := logging.NullHandler()]
    module.install()
    assert logging.root.handlers == [other]


# What a handler below the root has shown.


class Console:
    """As much of standard error as a handler uses."""

    def write(self, _: str) -> None: ...

    def flush(self) -> None: ...

    def fileno(self) -> int:
        return 2


def test_what_is_on_standard_error_already_is_not_written_again(stream, theirs):
    logging.getLogger("shop").addHandler(logging.StreamHandler(Console()))
    theirs.error("once")
    logging.getLogger("shop.cart.deeper").error("once")
    assert stream.getvalue() == ""
    OURS.error("other loggers are not concerned")
    assert stream.getvalue() != ""


def test_nor_is_what_rich_has_shown(monkeypatch, stream, theirs):
    handler = logging.NullHandler()
    monkeypatch.setattr(handler, "console", SimpleNamespace(file=Console()), raising=False)
    theirs.addHandler(handler)
    theirs.error("once")
    assert stream.getvalue() == ""


def file_handler() -> logging.Handler:
    return logging.StreamHandler(io.StringIO())


def high() -> logging.Handler:
    handler = logging.StreamHandler(Console())
    handler.setLevel(logging.CRITICAL)
    return handler


def filtering() -> logging.Handler:
    handler = logging.StreamHandler(Console())
    handler.addFilter(lambda _: False)
    return handler


@pytest.mark.parametrize("made", [logging.NullHandler, file_handler, high, filtering])
def test_what_no_handler_has_shown_is_written(stream, theirs, made):
    theirs.addHandler(made())
    theirs.error("once")
    assert stream.getvalue().count("once") == 1


def test_a_record_of_no_logger_is_written(stream):
    logging.root.handle(logging.LogRecord("nowhere", logging.ERROR, "", 0, "made by hand", None, None))
    assert "made by hand" in stream.getvalue()


class Counting(logging.Filter):
    """Lets every `nth` record pass, and renames what passes."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.nth = nth
        self.calls = 0

    def filter(self, record: logging.LogRecord) -> bool:
        self.calls += 1
        record.msg = f"{record.msg}!"
        return self.calls % self.nth == 0


@pytest.mark.parametrize(
    ("nth", "ours"), [(1, []), (2, ["first!", "third!"]), (4, ["first!", "second!", "third!"])]
)
def test_a_filter_is_called_once_for_each_record(stream, theirs, nth, ours):
    console = logging.StreamHandler(Console())
    counting = Counting(nth)
    console.addFilter(counting)
    theirs.addHandler(console)
    for text in ("first", "second", "third"):
        theirs.error(text)
        console.removeFilter(counting)  # and it is the last one again
        console.addFilter(counting)
    assert counting.calls == 3
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ours


def test_a_filter_that_is_a_method_is_called_once(stream, theirs):
    class Own(logging.StreamHandler[Console]):
        calls = 0

        def filter(self, record: logging.LogRecord) -> bool:
            Own.calls += 1
            return bool(super().filter(record)) and record.getMessage() != "hidden"

    theirs.addHandler(Own(Console()))
    theirs.error("shown")
    assert (Own.calls, stream.getvalue()) == (1, "")


def test_a_handler_above_the_console_does_not_decide(stream, theirs):
    console = logging.StreamHandler(Console())
    console.addFilter(lambda _: False)
    theirs.addHandler(console)
    logging.getLogger("shop").addHandler(file_handler())
    theirs.error("once")
    assert stream.getvalue().count("once") == 1
