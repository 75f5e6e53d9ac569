"""Colors on a terminal, for `prefork dev`. Everywhere else the log has none."""

from __future__ import annotations

import logging
import os
from typing import TextIO

from prefork.logs.handler import LineFormatter

BOLD, DIM, RED, GREEN, YELLOW, BLUE = "1", "2", "31", "32", "33", "34"
"""Parameters of SGR (ECMA-48), which every terminal has."""

LEVELS = {"DEBUG": DIM, "WARNING": YELLOW, "ERROR": RED, "CRITICAL": RED}

FORMAT = "%(asctime)s %(levelname)s: %(message)s"


def painted(text: str, color: str, in_colors: bool) -> str:
    """The text in a color."""
    return f"\x1b[{color}m{text}\x1b[m" if in_colors and text else text


def takes_colors(stream: TextIO | None) -> bool:
    """Whether a stream shows colors: a terminal, or any with FORCE_COLOR, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False


class ColorFormatter(LineFormatter):
    """A short line for each record, its first line in the color of its level."""

    def __init__(self, *, in_colors: bool) -> None:
        super().__init__(FORMAT, "%H:%M:%S")
        self._in_colors = in_colors

    def format(self, record: logging.LogRecord) -> str:
        """The lines of the record. They are escaped before they are painted."""
        first, newline, rest = super().format(record).partition("\n")
        color = LEVELS.get(record.levelname, "")
        return painted(first, color, self._in_colors and bool(color)) + newline + rest
