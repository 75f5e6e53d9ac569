"""A client of server-sent events (HTML Standard, section 9.2)."""

from __future__ import annotations

import http.client
import json
import zlib
from types import TracebackType
from typing import Any, Self

from support.admin import connect_to
from support.waiting import DEADLINE_S


class EventClient:
    """Reads the frames of the live page at `url`."""

    def __init__(self, url: str, *, compressed: bool = False) -> None:
        self._connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
        self._connection.sock = connect_to(url)
        fields = {"Accept-Encoding": "gzip"} if compressed else {}
        self._connection.request("GET", "/events", headers=fields)
        self.response = self._connection.getresponse()
        self.received = 0
        """Bytes, as they came."""
        self._unpack = zlib.decompressobj(wbits=31) if compressed else None
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def frame(self) -> dict[str, Any] | None:
        """The next one; None at the end of the stream."""
        while True:
            line, found, self._text = self._text.partition(b"\n\n")
            if not found:
                self._text = line
                if not self._more():
                    return None
            elif line.startswith(b"data: "):
                frame: dict[str, Any] = json.loads(line[6:])
                return frame

    def frames(self, count: int) -> list[dict[str, Any]]:
        """So many more. There must be as many."""
        found = [frame for frame in (self.frame() for _ in range(count)) if frame is not None]
        assert len(found) == count
        return found

    def _more(self) -> bool:
        try:
            data = self.response.read1(65536)
        except (http.client.IncompleteRead, ConnectionError):  # the server was killed
            return False
        self.received += len(data)
        self._text += data if self._unpack is None else self._unpack.decompress(data)
        return bool(data)
