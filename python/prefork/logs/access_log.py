"""The access log: one line per request, in the combined format.

Always: a line is one `write` to a file opened for appending, so the lines of several workers do not mix. No
client can end a line or a quoted field. On a full disk lines are lost, and responses are not. No reader
delays a response.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time

from prefork._engine import Request, Response, log_overdue_to
from prefork.errors import OptionError
from prefork.logs.escaping import escape_line
from prefork.logs.output import Output, output_of

STANDARD = {"-": "stdout", "/dev/stdout": "stdout", "/dev/stderr": "stderr"}
"""Paths of the standard streams. To open those of /dev fails for a socket, and for a pipe of another user."""


CLIENT_LEFT = 499
"""The status of a request whose client left before its response began, as nginx has it."""


class AccessLog:
    """Called with each request and its response. The path "-" is standard output. Raises OptionError."""

    _file: int | None = None
    """The descriptor of the file; None for a standard stream."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._second = 0
        self._time = ""
        name = f"the access log {path}"
        if path in STANDARD:
            self._output = output_of(getattr(sys, STANDARD[path]), name)
        else:
            try:
                self._file = _open(path)
            except OSError as error:
                raise OptionError(f"access log {path} cannot be written: {error.strerror}") from None
            self._output = Output(self._file, name)
        log_overdue_to(self._output.descriptor)

    @property
    def directory(self) -> str | None:
        """Where its file is opened again after a rotation; None for a standard stream."""
        return None if self._file is None else os.path.dirname(os.path.abspath(self._path))

    def __call__(self, request: Request | None, response: Response) -> None:
        referer = agent = "-"
        if request is None:
            asked = response.request_line or "-"
        else:
            referer = _quoted(request.header("referer", "-"))
            agent = _quoted(request.header("user-agent", "-"))
            target = request.raw_path.decode("latin-1") + (f"?{request.query}" if request.query else "")
            asked = f"{request.method} {target} {request.protocol}"
        client = response.connection if request is None else request
        sent = response.sent_bytes
        line = (
            f"{client.remote_ip or '-'} - - [{self._now()}] "
            f'"{_quoted(asked)}" {CLIENT_LEFT if sent is None else response.code} {sent or "-"} '
            f'"{referer}" "{agent}"'
        )
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._follow(self._file)
        self._output.write(f"{escape_line(line)}\n".encode("ascii", "backslashreplace"))

    def _follow(self, file: int) -> None:
        """Opens the file again if it was rotated. No signal is needed."""
        try:
            if os.path.samestat(os.stat(self._path), os.fstat(file)):
                return
        except FileNotFoundError:
            pass
        # The descriptor keeps its number: another thread may be about to write to it.
        new = _open(self._path)
        os.dup2(new, file, inheritable=False)
        os.close(new)

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._time = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
            self._second = second  # after _time: another thread may compare it
        return self._time


def _quoted(field: str) -> str:
    """Made safe within quotes."""
    return field.replace("\\", "\\\\").replace('"', '\\"')


def _open(path: str) -> int:
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.stat(path).st_mode):
            # To open a named pipe for writing waits for a reader; for both it does not (fifo(7)).
            return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
