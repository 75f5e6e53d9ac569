"""How a text that a client may have written is shown: none of it controls a terminal or ends a line.

Always: these functions return, whatever an object's own `str()` and `repr()` do.
"""

from __future__ import annotations

import re
from collections.abc import Callable

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1: terminals obey both sets
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators; marks that reorder what is shown
    "\ud800-\udfff]"  # surrogates: no encoding has them
)

INDENT = "  "


def escape_lines(text: str) -> str:
    """A text of several lines. Each line but the first is indented, so that none looks like a new record."""
    return CONTROLS.sub(_escaped, text).replace("\n", f"\n{INDENT}")


def escape_line(text: str) -> str:
    """A text as one line."""
    if text.isprintable():  # nearly always
        return text
    return CONTROLS.sub(_escaped, text).replace("\n", "\\n")


def escape_text(text: str) -> str:
    """A text of several lines, for a format that escapes their ends itself."""
    return text if text.isprintable() else CONTROLS.sub(_escaped, text)


def show(value: object, how: Callable[[object], str] = str) -> str:
    """`str(value)` or `repr(value)`, or what it raises: an object of the application may raise anything."""
    try:
        return how(value)
    except BaseException as error:
        return f"<{type(value).__name__}: its {how.__name__}() raises {type(error).__name__}>"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
