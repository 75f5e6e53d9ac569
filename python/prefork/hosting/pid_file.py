"""The file that names the process while it serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.server.server import HTTPServer


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
    if os.path.isdir(path):
        raise OptionError(f"pid file {path} cannot be written: it is a directory")
    pid = os.getpid()

    def write(_server: HTTPServer) -> None:
        # Renamed into place: a reader never sees half of it.
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
