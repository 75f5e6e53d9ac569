"""Hints in the log at what the sandbox has refused to the application (worker).

Always: a hint names an option that would allow it, where there is one, and comes once. It is a guess from the
error that the application logs or does not handle; what the user of the process may not do anyway is not
hinted at.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from prefork.logs.escaping import show

logger = logging.getLogger("prefork.worker")

MOST_HINTS = 64
"""A view that makes up names of directories fills no log."""
MOST_ERRORS = 32
"""Of a chain of causes."""

_REFUSED = (errno.EACCES, errno.EPERM, errno.EXDEV)
_TEXTS = re.compile(
    "permission denied|operation not permitted|readonly database|unable to open database file", re.IGNORECASE
)
"""Of errors of libraries in C, such as libpq and SQLite."""
_PORT = re.compile(r"(?:\bport[ =]|', |[a-z0-9.\]]:)([0-9]{1,5})\b")
"""In `port 5432`, `('127.0.0.1', 5432)` and `localhost:6379`."""
_PATH = re.compile(r"""(['"])(/[^'"]+)\1""")


class Refusals:
    """`write` is what the process may change, and `connect` the ports to which it may connect; None: all."""

    def __init__(self, write: Sequence[str], connect: Collection[int] | None) -> None:
        self._write = [os.path.realpath(path) for path in write]
        self._connect = connect
        self._given: set[str] = set()
        self._make_record: Any = logging.getLogRecordFactory()

    def explain(self) -> None:
        """From now on a record with an error is looked at, whichever logger makes it: Django and Flask log
        the errors of views themselves.
        """
        logging.setLogRecordFactory(self._record)

    def _record(self, *args: Any, **more: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make_record(*args, **more)
        info = record.exc_info
        if isinstance(info, tuple) and info[1] is not None:
            self._tell(info[1])
        return record

    def _tell(self, error: BaseException) -> None:
        hint = self.hint(error)
        if hint is not None and hint not in self._given and len(self._given) < MOST_HINTS:
            self._given.add(hint)
            logger.warning("%s", hint)

    def hint(self, error: BaseException) -> str | None:
        """What to do if the sandbox has refused what failed with this error; None if it has not."""
        hints = (self._of_one(one) for one in _chain(error))
        return next((hint for hint in hints if hint is not None), None)

    def _of_one(self, error: BaseException) -> str | None:
        text = show(error)
        if isinstance(error, OSError):
            if error.errno not in _REFUSED and not _TEXTS.search(text):
                return None
            named = [_decoded(name) for name in (error.filename, error.filename2) if name is not None]
        elif _TEXTS.search(text):
            named = [found[2] for found in _PATH.finditer(text)]
        else:
            return None
        if any(named):
            return next(filter(None, map(self._of_path, filter(None, named))), None)
        if "database" in text:
            return "--sandbox may have refused to change a database: add --sandbox-write with its directory"
        return self._of_connection(error, text)

    def _of_path(self, path: str) -> str | None:
        path = os.path.realpath(path)
        directory = path if os.path.isdir(path) else os.path.dirname(path)
        if any(_is_in(path, allowed) for allowed in self._write):
            return None
        # Neither function asks Landlock.
        if os.path.exists(path) and not os.access(path, os.R_OK):
            return None
        if not any(os.access(one, os.W_OK) for one in (path, directory, os.path.dirname(path))):
            return None
        return f"--sandbox refused to change {path}: add --sandbox-write {directory}, if it may"

    def _of_connection(self, error: BaseException, text: str) -> str | None:
        if isinstance(error, OSError) and error.errno == errno.EPERM:
            return "--sandbox may have refused a signal to another process or a system call: docs/security.md"
        if self._connect is None:
            return None
        ports = [int(found[1]) for found in _PORT.finditer(text)]
        port = next((port for port in ports if port not in self._connect), None)
        if port is not None:
            return f"--sandbox refused a connection to port {port}: add --sandbox-connect {port}, if it may"
        return "--sandbox may have refused a connection: add --sandbox-connect with its port, if it may"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes, and those of a group."""
    seen: list[BaseException] = []
    rest: list[BaseException | None] = [error]
    while rest and len(seen) < MOST_ERRORS:
        one = rest.pop(0)
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        rest += [
            *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()),
            one.__cause__,
            one.__context__,
        ]


def _decoded(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes) else ""


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
