"""Which files a reload watches, as options."""

from __future__ import annotations

from collections.abc import Iterable

from prefork.config.values import directory, reader, text


@reader("DIRECTORIES")
def directories(value: object) -> tuple[str, ...]:
    """Directories that exist. A text has them with commas between them."""
    return tuple(directory(one) for one in _parts(value, "existing directories"))


@reader("PATTERNS")
def patterns(value: object) -> tuple[str, ...]:
    """Patterns of file names. A text has them with commas between them."""
    return tuple(_parts(value, "patterns such as *.html or templates/*"))


def _parts(value: object, expected: str) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, Iterable) or isinstance(values, bytes):
        raise ValueError(expected)
    given = list(values)
    if not all(isinstance(one, str) for one in given):
        raise ValueError(expected)
    parts = [part.strip() for one in given for part in text(one).split(",")]
    if not all(parts):
        raise ValueError(expected)
    return parts
