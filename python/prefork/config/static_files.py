"""The types of the options of static files, and how each is read.

Each is a list of pairs. A text has them as `first=second` with commas between them, a table or a dict as keys
and values. The first of each begins with `/` or `*`, so a comma before anything else belongs to the second:
`/a=public, max-age=60, /b=1h` is two pairs. As in `values.py`, a reader also accepts its own results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from prefork.config.values import Reader, Rejected, directory, path_prefix

Pairs = tuple[tuple[str, str], ...]

TO_APPLICATION = "-"
"""Instead of a directory: the paths below the prefix are those of the application."""

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
IMMUTABLE = f"max-age={UNITS_S['y']}, immutable"

_DIRECTIVE = (
    r"(?:(?:max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,10}|public|private|immutable|"
    r"no-cache|no-store|no-transform|must-revalidate|proxy-revalidate|must-understand)"
)
_DIRECTIVES = re.compile(rf"{_DIRECTIVE}(?: *, *{_DIRECTIVE})*")


def pairs(metavar: str, expected: str, read: Callable[[str, str], tuple[str, str]]) -> Reader[Pairs]:
    """A reader of pairs. An error shows the pair that is wrong."""

    def read_one(value: object) -> tuple[str, str]:
        try:
            first, second = value.split("=", 1) if isinstance(value, str) else cast("tuple[str, str]", value)
            return read(str(first).strip(), str(second).strip())
        except (TypeError, ValueError):
            raise Rejected(expected, repr(value)) from None

    def read_all(value: object) -> Pairs:
        if isinstance(value, str):
            value = _split(value)
        elif isinstance(value, Mapping):
            value = tuple(value.items())
        if not isinstance(value, Iterable):
            raise ValueError(expected)
        return tuple(map(read_one, value))

    return Reader(read_all, metavar)


def _split(text: str) -> list[str]:
    # If the text begins otherwise, it is invalid, and the error shows only its beginning.
    return re.split(r",(?=\s*[/*])" if text.lstrip().startswith(("/", "*")) else ",", text)


def _mount(prefix: str, root: str) -> tuple[str, str]:
    return path_prefix(prefix), root if root == TO_APPLICATION else directory(root)


def _fallback(prefix: str, file: str) -> tuple[str, str]:
    file = file.lstrip("/")
    if not file or file.startswith(".") or "/." in file or file.endswith("/"):
        raise ValueError
    return path_prefix(prefix), file


def _lifetime(pattern: str, value: str) -> tuple[str, str]:
    if not pattern.startswith(("/", "*")):
        raise ValueError
    if found := re.fullmatch(r"([0-9]{1,9})([smhdwy]?)", value):
        return pattern, f"max-age={int(found[1]) * UNITS_S[found[2]]}"
    if value == "immutable":
        return pattern, IMMUTABLE
    if not _DIRECTIVES.fullmatch(value):
        raise ValueError
    return pattern, value


mounts = pairs("PREFIX=DIRECTORY", "/prefix=directory with an existing directory", _mount)
"""Path prefixes and directories."""

fallbacks = pairs(
    "PREFIX=FILE", "/prefix=file with the name of a file in the directory of that prefix", _fallback
)
"""Path prefixes of directories, and the file that is sent instead of one that does not exist."""

lifetimes = pairs(
    "PATTERN=TIME",
    "pattern=time: a pattern that begins with / or *, and a time like 3600, 10m, 1h or 30d, immutable, "
    "no-cache or no-store",
    _lifetime,
)
"""Patterns of paths, and the Cache-Control of files whose path fits."""
