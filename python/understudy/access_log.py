"""One line a request, in the combined format that log readers know.

Always: a line is one `write` to a file opened for appending, so the lines of several workers never mix. No
client can end a line or a quoted field. A full disk costs lines, not answers.
"""

from __future__ import annotations

import contextlib
import os
import time

from understudy._engine import Request, Response
from understudy.errors import OptionError


class AccessLog:
    """A function to be told of answers. "-" as the path is standard output. Raises OptionError."""

    def __init__(self, path: str) -> None:
        try:
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = 1 if path == "-" else os.open(path, how, 0o644)
        except OSError as error:
            raise OptionError(f"access_log: {path} cannot be written: {error.strerror}") from None
        self._second = 0
        self._time = ""

    def __call__(self, request: Request | None, response: Response) -> None:
        if request is None:
            return  # it was malformed: there is no line to tell
        fields = (request.header("referer", "-"), request.header("user-agent", "-"))
        referer, agent = (field.replace("\\", "\\\\").replace('"', '\\"') for field in fields)
        target = request.raw_path.decode("latin-1") + (f"?{request.query}" if request.query else "")
        line = (
            f"{request.remote_ip or '-'} - - [{self._now()}] "
            f'"{request.method} {target} {request.protocol}" {response.code} {_length(request, response)} '
            f'"{referer}" "{agent}"\n'
        )
        with contextlib.suppress(OSError):
            os.write(self._file, line.encode("ascii", "backslashreplace"))

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._time = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._time


def _length(request: Request, response: Response) -> int | str:
    """Bytes of the body; "-" where there was none, or a stream."""
    content = response.content
    if content is None or request.method == "HEAD":
        return "-"
    return len(content.encode() if isinstance(content, str) else content)
