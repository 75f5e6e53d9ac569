"""Which files of a project a reload watches.

Always: what no change of the application can be in is not entered: repositories, caches, virtual
environments and packages of other languages. They have most of the directories of a project, and each one
that is watched costs the system something (fs.inotify.max_user_watches).

It must know no process and no library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

ALWAYS = ("*.py",)
"""Patterns that need not be given."""

OF_EDITORS = ("*~", "#*#", "flycheck_*", "*___jb_???___")
"""What editors and their checkers write beside a file while it is edited."""

NEVER = frozenset(("__pycache__", "node_modules", "site-packages", "__pypackages__"))
"""Names of directories that are not entered. Those that begin with a dot are not either."""

VENV = "pyvenv.cfg"
"""What the top directory of a virtual environment has (PEP 405)."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files in `roots` whose name matches a pattern of `include` or ALWAYS, and none of `exclude`.

    A pattern with a slash is for the path below a root, and its stars match slashes too. A name that begins
    with a dot needs a pattern of which the last part does, as in a shell. A directory that matches a pattern
    of `exclude` is not entered.
    """

    roots: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def directories(self) -> list[str]:
        """Those whose files may count, now."""
        return [directory for directory, _ in self._walk()]

    def found(self) -> Iterator[str]:
        """The files that count, now."""
        for directory, names in self._walk():
            for name in names:
                path = os.path.join(directory, name)
                if self.has(path):
                    yield path

    def changed_since(self, moment_ns: int) -> set[str]:
        """The files that were written, or got their names, after a moment of the system's clock."""
        return {path for path in self.found() if _changed_ns(path) > moment_ns}

    def has(self, path: str) -> bool:
        """Whether the file counts, if it is in a directory that is watched."""
        patterns: tuple[str, ...] = (*ALWAYS, *self.include)
        if os.path.basename(path).startswith("."):
            patterns = tuple(one for one in patterns if os.path.basename(one).startswith("."))
        return self._matches(path, patterns) and not self._matches(path, (*OF_EDITORS, *self.exclude))

    def enters(self, directory: str) -> bool:
        """Whether the files of a directory count, if those of the one that it is in do."""
        name = os.path.basename(directory)
        if name in NEVER or name.startswith(".") or self._matches(directory, self.exclude):
            return False
        return not os.path.exists(os.path.join(directory, VENV))

    def _walk(self) -> Iterator[tuple[str, list[str]]]:
        for root in self.roots:
            for directory, below, names in os.walk(root):
                yield directory, names
                below[:] = [name for name in below if self.enters(os.path.join(directory, name))]

    def _matches(self, path: str, patterns: tuple[str, ...]) -> bool:
        name = os.path.basename(path)
        below = [path.removeprefix(f"{root}/") for root in self.roots if path.startswith(f"{root}/")]
        return any(
            any(fnmatchcase(one, pattern) for one in below) if "/" in pattern else fnmatchcase(name, pattern)
            for pattern in patterns
        )


def _changed_ns(path: str) -> int:
    """No program can set it, as a copy sets the time at which the original was written."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:  # it is gone
        return 0
