"""The file that names the process while it serves."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.server.server import HTTPServer


MAX_BYTES = 32
"""More than a process id and a line break."""


def _check(path: str) -> None:
    """Raises OptionError for what is no pid file: it would be lost."""
    if os.path.basename(path).isdecimal():
        raise OptionError(f"pid file {path} is a number; for a port use --bind")
    try:
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            raise OptionError(f"pid file {path} cannot be written: it is a directory")
        with open(path, "rb", opener=_opener) as file:
            content = file.read(MAX_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b"no file"
    except FileNotFoundError:
        return
    except OSError as error:
        raise OptionError(f"pid file {path} cannot be read: {error.strerror}") from None
    if content.strip() and not (content.strip().isdigit() and len(content) < MAX_BYTES):
        raise OptionError(f"pid file {path} exists and holds no process id; choose another name")


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe must not be waited for


@contextlib.contextmanager
def pid_file(path: str | None, server: HTTPServer) -> Iterator[None]:
    """Writes the file when `server` serves, and removes it at the end. Raises OptionError."""
    if path is None:
        yield
        return
    # Checked before anything serves: an error later ends a server that has clients.
    directory = os.path.dirname(path)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise OptionError(f"pid file {path} cannot be written: its directory does not exist or is not ours")
    _check(path)
    pid = os.getpid()

    def write(_server: HTTPServer) -> None:
        # Renamed into place: a reader never sees half of it.
        _check(path)
        whole = f"{path}.{pid}"
        try:
            with open(whole, "w") as file:
                print(pid, file=file)
            os.replace(whole, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(whole)
            raise OptionError(f"pid file {path} cannot be written: {error.strerror}") from None

    server.on_serving.append(write)
    try:
        yield
    finally:
        # Not if it is another server's: this one may have ended because that one holds the port.
        with contextlib.suppress(OSError), open(path) as file:
            if file.read().strip() == str(os.getpid()):
                os.unlink(path)
