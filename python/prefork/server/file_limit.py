"""How many files this process may have open."""

from __future__ import annotations

import contextlib
import resource


def raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one, as each connection is one.

    The soft limit of most systems is 1024, for programs that use select(2). Children inherit it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a container may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
