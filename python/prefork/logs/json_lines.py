"""Records as JSON: one object a line.

Always: a line is valid JSON in ASCII, whatever a record holds. What a client sent controls no terminal that
shows a value, decoded: control characters are escaped before JSON escapes once more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from prefork.logs.escaping import escape_text, show
from prefork.logs.handler import standard_error

NAMES = ("request_id", "trace_id")
"""Attributes of a record that a line has too, if they are set."""


class JSONFormatter(logging.Formatter):
    """The fields of a record that a collector needs. A format is not heeded: there is one."""

    def __init__(self, *_format: object, **_more: object) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The line of the record, without its end."""
        try:
            message = record.getMessage()
        except BaseException as error:  # arguments that do not fit, or that cannot be shown
            place = f"{record.pathname}:{record.lineno}"
            message = f"{show(record.msg, repr)} at {place} cannot be formatted: {show(error, repr)}"
        names = {name: show(getattr(record, name)) for name in NAMES if getattr(record, name, None)}
        if record.exc_info:
            names["exception"] = show(record.exc_info, self._traceback)
        elif record.exc_text:
            names["exception"] = show(record.exc_text)
        if record.stack_info:
            names["stack"] = show(record.stack_info)
        pid = record.process or os.getpid()
        return json_line(record.created, record.levelname, record.name, message, pid, names)

    def _traceback(self, info: Any) -> str:
        return self.formatException(info)


def json_line(
    created_s: float, level: str, logger: str, message: str, pid: int, more: Mapping[str, str]
) -> str:
    """One line. Its time is that of the system's clock, in UTC (RFC 3339)."""
    milliseconds = round(created_s * 1000)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    line: dict[str, object] = {
        "time": f"{second}.{milliseconds % 1000:03d}Z",
        "level": escape_text(level),
        "logger": escape_text(logger),
        "pid": pid,
        "message": escape_text(message),
    }
    return json.dumps(line | {name: escape_text(text) for name, text in more.items()})


# What Python prints itself, as several lines.


def replace_bare_messages() -> None:
    """Has the process log what Python would print: an exception that ends it or one of its threads, and the
    messages of loggers that have no handler.
    """
    logging.lastResort = standard_error()
    sys.excepthook = _log_exception
    threading.excepthook = _log_exception_of_thread


def _log_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    info = (kind, error, traceback)
    logger = logging.getLogger("prefork")
    with contextlib.suppress(Exception):
        text = "the process ends: %r"
        record = logger.makeRecord(logger.name, logging.CRITICAL, __file__, 0, text, (error,), info)
        standard_error().emit(record)
        standard_error().flush()


def _log_exception_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = "?" if args.thread is None else args.thread.name
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("prefork").error("the thread %s ends: %r", name, args.exc_value, exc_info=info)
