"""The log on standard error, for programs that do not configure logging themselves.

Always: a record is one line, and each further line of it is indented, so that no text looks like another
record. Logging neither fails nor waits.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO
from weakref import WeakSet

from prefork.logs.escaping import escape_lines, show
from prefork.logs.output import output_of

FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
NAMED = FORMAT.replace("%(message)s", "[%(request_id)s] %(message)s")
"""Of a record about a request that has an id."""

STANDARD = (1, 2)
"""Descriptors whose lines are seen beside those of this handler."""


class LineFormatter(logging.Formatter):
    """Escapes what a record has, whichever logger made it. The arguments are those of `logging.Formatter`."""

    def __init__(self, fmt: str | None = None, *rest: Any, **more: Any) -> None:
        super().__init__(FORMAT if fmt is None else fmt, *rest, **more)
        self._named = logging.PercentStyle(NAMED) if fmt is None else None

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name in logging)
        """The record without its traceback."""
        if self._named is not None and getattr(record, "request_id", None):
            return self._named.format(record)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The lines of the record."""
        known = record.exc_text
        if record.exc_info:
            record.exc_text = None  # another formatter's, or one that is escaped already
        try:
            text = super().format(record)
        except BaseException as error:  # arguments that do not fit, or that cannot be shown
            about = f"{self.formatTime(record)} {record.process} {record.levelname} {record.name}"
            place = f"{record.pathname}:{record.lineno}"
            text = f"{about}: {show(record.msg, repr)} at {place} cannot be formatted: {show(error, repr)}"
        record.exc_text = known
        return escape_lines(text)


class LogHandler(logging.Handler):
    """Writes records to a stream."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._output = output_of(stream, "the log")
        _watch_consoles()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record. A handler of the application may have done so already."""
        return bool(super().filter(record)) and not _is_seen(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record."""
        self._output.write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Gives a slow reader a moment."""
        self._output.flush()


@functools.cache
def standard_error() -> LogHandler:
    """The handler of this program."""
    return LogHandler(sys.stderr)


def install() -> None:
    """Adds the handler to the root logger, unless the program has configured logging."""
    if not logging.root.handlers:
        logging.root.addHandler(standard_error())


def uninstall() -> None:
    """Takes the handler off the root logger, before the program configures logging."""
    logging.root.removeHandler(standard_error())


# What other handlers show

_passed: WeakSet[logging.LogRecord] = WeakSet()
"""Records that have passed the filters of a console of the application. A filter may count or change what it
is called with, so it is not called a second time to learn what it says."""


def _is_seen(record: logging.LogRecord) -> bool:
    """Whether a handler below the root writes the record to standard output or standard error.

    Django's does while DEBUG is on, and so does Flask's. Handlers that send mail or write files do not count.
    """
    consoles = (one for one in _consoles(record.name) if record.levelno >= one.level)
    return any(not _is_filtering(one) or record in _passed for one in consoles)


def _consoles(name: str) -> Iterator[logging.Handler]:
    """The handlers below the root that show the records of a logger."""
    logger = logging.root.manager.loggerDict.get(name)
    while isinstance(logger, logging.Logger) and logger is not logging.root:
        for handler in logger.handlers:
            if descriptor_of(handler) in STANDARD:
                yield handler
        logger = logger.parent


def _is_filtering(handler: logging.Handler) -> bool:
    return bool(handler.filters) or type(handler).filter is not logging.Handler.filter


def _note_passed(record: logging.LogRecord) -> bool:
    """The last filter of each console that filters."""
    _passed.add(record)
    return True


class _Factory:
    """Makes the records of all loggers, and sees to it that consoles note those that they show."""

    def __init__(self) -> None:
        self._make = logging.getLogRecordFactory()

    def __call__(self, name: str, *args: Any, **more: Any) -> logging.LogRecord:
        for handler in _consoles(name):
            if _is_filtering(handler) and handler.filters[-1:] != [_note_passed]:
                handler.removeFilter(_note_passed)
                handler.addFilter(_note_passed)
        return self._make(name, *args, **more)


def _watch_consoles() -> None:
    if not isinstance(logging.getLogRecordFactory(), _Factory):
        logging.setLogRecordFactory(_Factory())


def descriptor_of(handler: logging.Handler) -> int:
    """The descriptor that a handler writes to; -1 if it is not known. `console` is that of rich."""
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    try:
        return int(stream.fileno())  # type: ignore[union-attr]
    except Exception:  # no stream, or one that is no file
        return -1
