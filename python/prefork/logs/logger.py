"""The loggers of prefork: what they are given is shown safely by every handler, and nothing disables them.

Log calls take what a client sent as arguments, as it is. They are escaped here, when the record is made, so
that an application with handlers of its own gets them escaped too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefork.logs.escaping import escape_line, show
from prefork.logs.handler import standard_error

NAMES = ("prefork", "prefork.kernel", "prefork.pool", "prefork.server", "prefork.worker")
"""Every logger of ours. The modules get theirs with `logging.getLogger`, as always."""


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
        return super().makeRecord(name, level, fn, lno, msg, args, *others, **more)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  (its name in logging)
        """Passes the record to the handlers that apply. One that raises must end no process."""
        if not self.hasHandlers():
            standard_error().handle(record)
            return
        try:
            super().callHandlers(record)
        except Exception:
            standard_error().handle(record)


class _Shown:
    """An argument that is made text when a handler does it, and only then."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return escape_line(show(self._value))

    def __repr__(self) -> str:
        return escape_line(show(self._value, repr))


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
