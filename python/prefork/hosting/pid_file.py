"""The file that names the process while it serves."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.server.server import HTTPServer

logger = logging.getLogger("prefork.pool")

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


class PidFile:
    """The file, before it is there. Raises OptionError if it cannot be written."""

    def __init__(self, path: str) -> None:
        # Checked before anything serves: an error later ends a server that has clients.
        directory = os.path.dirname(path)
        if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
            raise OptionError(
                f"pid file {path} cannot be written: its directory does not exist or is not ours"
            )
        _check(path)
        self._path = path
        self._pid = os.getpid()
        self._kept: int | None = None
        self._beside: str | None = None

    def keep(self) -> None:
        """Opens the file, for a process that is about to become another user. Raises OptionError.

        That user may have no right to the directory, or have another root: the file is written, and emptied
        at the end, through this descriptor. No worker has it.
        """
        _check(self._path)
        try:
            # No link is followed: the directory may be that user's.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            kept = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise OptionError(f"pid file {self._path} cannot be written: {error.strerror}") from None
        status = os.fstat(kept)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            os.close(kept)
            raise OptionError(f"pid file {self._path} is no file of its own; choose another name")
        os.ftruncate(kept, 0)
        self._kept = kept
        self._drop_beside()
        os.register_at_fork(after_in_child=self._let_go)

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            os.close(kept)

    def write_beside(self) -> None:
        """Writes what `write` only renames then. Raises OptionError, also if the disk is full.

        For a process that takes the place of another one: when that has let go, it is too late for an error.
        """
        beside = f"{self._path}.{self._pid}"
        try:
            with open(beside, "wb") as file:
                file.write(self._text)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise self._error(error) from None
        self._beside = beside

    def write(self) -> None:
        """Writes it. Raises OptionError."""
        if self._kept is not None:
            try:
                os.pwrite(self._kept, self._text, 0)
            except OSError as error:
                raise self._error(error) from None
            return
        # Renamed into place: a reader never sees half of it.
        _check(self._path)
        if self._beside is None:
            self.write_beside()
        assert self._beside is not None
        try:
            os.replace(self._beside, self._path)
        except OSError as error:
            raise self._error(error) from None
        self._beside = None

    def _drop_beside(self) -> None:
        if self._beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._beside)
            self._beside = None

    @property
    def _text(self) -> bytes:
        return f"{self._pid}\n".encode()

    def _error(self, error: OSError) -> OptionError:
        return OptionError(f"pid file {self._path} cannot be written: {error.strerror}")

    def remove(self) -> None:
        """Removes it, or empties it where it cannot be removed."""
        if self._pid == os.getpid():
            self._drop_beside()
        # Not if it is another server's: this one may have ended because that one holds the port.
        with contextlib.suppress(OSError), open(self._path) as file:
            if file.read().strip() == str(os.getpid()):
                os.unlink(self._path)
        if self._kept is not None and self._pid == os.getpid():
            os.ftruncate(self._kept, 0)
            self._let_go()


@contextlib.contextmanager
def pid_file(path: str | None, server: HTTPServer, *, is_successor: bool = False) -> Iterator[PidFile | None]:
    """Writes the file when `server` serves, and removes it at the end. Raises OptionError.

    `is_successor`: it serves when another process has let go. It serves on then, whatever becomes of it.
    """
    if path is None:
        yield None
        return
    file = PidFile(path)

    def write(_server: HTTPServer) -> None:
        try:
            file.write()
        except OptionError as error:
            if not is_successor:
                raise
            logger.error("%s; it names the former process", error)

    server.on_serving.append(write)
    try:
        if is_successor:
            file.write_beside()
        yield file
    finally:
        file.remove()
