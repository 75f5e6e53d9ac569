"""Which requests have no line in the access log, as an option."""

from __future__ import annotations

import re

from prefork.config.values import reader

PATHS = "paths such as /healthz, or /static/* for all below one"


@reader("PATHS")
def skipped_paths(value: object) -> tuple[str, ...]:
    """Paths as clients send them. A star at the end makes one the beginning of several."""
    paths = value.split(",") if isinstance(value, str) else value
    if not isinstance(paths, list | tuple):
        raise ValueError(PATHS)
    found = tuple(part for one in paths for part in _paths(one))
    if not all(re.fullmatch(r"/[!-)+-~]*\*?|\*", path) for path in found):
        raise ValueError(PATHS)
    return found


def _paths(value: object) -> list[str]:
    if not isinstance(value, str):
        raise ValueError(PATHS)
    return [part.strip() for part in value.split(",") if part.strip()]
