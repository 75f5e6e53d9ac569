"""The loggers of prefork: what they are given is shown safely by every handler, and nothing disables them.

Log calls take what a client sent as arguments, as it is. They are escaped here, when the record is made, so
that an application with handlers of its own gets them escaped too. So is the traceback: an exception's text
may have what a client sent.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prefork.logs.escaping import escape_line, escape_lines, show
from prefork.logs.handler import LogHandler, descriptor_of, standard_error

NAMES = (
    *("prefork", "prefork.admin", "prefork.control", "prefork.kernel", "prefork.mold", "prefork.pool"),
    *("prefork.server", "prefork.worker"),
)
"""Every logger of ours. The modules get theirs with `logging.getLogger`, as always."""


_observer: Callable[[logging.LogRecord], object] | None = None


def observe(function: Callable[[logging.LogRecord], object] | None) -> None:
    """Has `function` called with each record of our loggers that is written, here and in children. It raises
    nothing. None ends that.
    """
    global _observer
    _observer = function


class Lines(str):
    """A text for the log that keeps its line breaks. No client wrote it."""

    __slots__ = ()


class Logger(logging.Logger):
    """A logger of ours. If the program has no handler, or one raises, it uses that of `prefork serve`."""

    @property
    def disabled(self) -> bool:
        """Always False: `logging.config` disables each logger that it does not know, unless told otherwise.

        A level or a filter silences these loggers where that is meant.
        """
        return False

    @disabled.setter
    def disabled(self, _: bool) -> None:
        pass

    def makeRecord(  # noqa: N802  (its name in logging)
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        *others: Any,
        **more: Any,
    ) -> logging.LogRecord:
        """The record of one call."""
        if not isinstance(args, Mapping):
            args = tuple(map(_safe, args))
        record = super().makeRecord(name, level, fn, lno, msg, args, *others, **more)
        if record.exc_info:
            # Formatters take this text, and make none of the exception.
            record.exc_text = escape_lines(show(record.exc_info, _traceback))
        return record

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  (its name in logging)
        """Passes the record to the handlers that apply. One that raises must end no process, and one whose
        reader does not read must stop none: ours writes the record instead.
        """
        if _observer is not None:
            _observer(record)
        for handler in [*self._handlers()] or [standard_error()]:
            if record.levelno < handler.level:
                continue
            if _would_wait(handler):
                standard_error().emit(record)
                continue
            try:
                handler.handle(record)
            except Exception:
                standard_error().emit(record)

    def _handlers(self) -> Iterator[logging.Handler]:
        logger: logging.Logger | None = self
        while logger is not None:
            yield from logger.handlers
            logger = logger.parent if logger.propagate else None


def _would_wait(handler: logging.Handler) -> bool:
    """Whether a line to this handler would wait for the reader of a pipe."""
    if isinstance(handler, LogHandler) or (descriptor := descriptor_of(handler)) < 0:
        return False
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    return not ready.poll(0)


class _Shown:
    """An argument that is made text when a handler does it, and only then."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return escape_line(show(self._value))

    def __repr__(self) -> str:
        return escape_line(show(self._value, repr))


def _traceback(info: Any) -> str:
    return logging.Formatter().formatException(info)


def _safe(argument: object) -> object:
    kind = type(argument)
    if kind is str:
        return escape_line(argument)  # type: ignore[arg-type]
    if kind in (int, float, bool, Lines) or argument is None:
        return argument
    return _Shown(argument)


def adopt_loggers() -> None:
    """Makes our loggers such ones. A module may have got one before, with the class that logging gives."""
    for name in NAMES:
        logging.getLogger(name).__class__ = Logger


def concerning(request: Any) -> dict[str, str] | None:
    """The `extra` of a log call about a request: what it is called. None if it has no name."""
    names = {"request_id": request.id, "trace_id": request.trace_id}
    return {name: text for name, text in names.items() if text} or None
