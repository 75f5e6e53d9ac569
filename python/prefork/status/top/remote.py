"""Reports of an admin listener (`--admin` of a server), over HTTP.

Always: what comes is limited in size and in time, and is a report of this version or refused: another program
may listen there.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any

from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.status import table
from prefork.status.top.rates import between
from prefork.status.top.screen import frame
from prefork.status.top.view import View

VERSION = 1
TIMEOUT_S = 3.0
LONGEST_BYTES = 16 * 1024 * 1024
DEFAULT_PORT = 80


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Remote:
    """The listener at `url`: `http://127.0.0.1:9900`, `127.0.0.1:9900` or `unix:/path`. `token` is what it
    wants of clients, if it does. Raises OptionError for another URL.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.note = ""
        self._url = url
        self._fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        if url.startswith("unix:"):
            self._path: str | None = url.removeprefix("unix:").removeprefix("//")
            return
        self._path = None
        found = re.fullmatch(r"(?:http://)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.-]+))(?::([0-9]{1,5}))?/*", url)
        if found is None or int(found[3] or 0) > 65535:
            raise OptionError(
                f"expected the address of an admin listener, as 127.0.0.1:9900 or unix:/path, got {url!r}"
            )
        self._host, self._port = found[1] or found[2], int(found[3] or DEFAULT_PORT)

    def look(self) -> dict[str, Any]:
        """The report of this moment. Raises ScoreboardUnavailable if it cannot be had."""
        try:
            status, body = self._get("/status.json")
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ScoreboardUnavailable(f"the admin listener {self._url} cannot be asked: {why}") from None
        if status in (401, 403):
            text = body[:200].decode(errors="replace").strip()
            raise ScoreboardUnavailable(f"the admin listener {self._url} refuses: {text} (--token-file)")
        if status == 503:
            raise ScoreboardUnavailable(f"the admin listener {self._url} has no pool to show")
        return self._checked(status, body)

    def histograms(self) -> None:
        """The report has none."""

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = (
            _UnixConnection(self._path)
            if self._path is not None
            else http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        )
        try:
            connection.request("GET", path, headers=self._fields)
            response = connection.getresponse()
            return response.status, response.read(LONGEST_BYTES)
        finally:
            connection.close()

    def _checked(self, status: int, body: bytes) -> dict[str, Any]:
        try:
            report: Any = json.loads(body)
        except (ValueError, RecursionError):
            report = None
        if status != 200 or not _is_report(report):
            raise ScoreboardUnavailable(
                f"expected a report of version {VERSION} at {self._url}/status.json, got another response "
                f"(status {status}): is it an admin listener, and of this version of prefork?"
            )
        return dict(report)


def _is_report(found: Any) -> bool:
    """Whether it is a report of this version: one that can be shown."""
    try:
        table.plain(found)
        frame(found, between(found, found, 1.0), View(), (400, 100))
        return bool(found["version"] == VERSION)
    except Exception:  # it may have anything in place of anything
        return False
