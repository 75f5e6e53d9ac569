"""The stream of events of the live page: one frame a second, made once for all clients (manager).

Always: without a client there is no timer and no work. A client that does not read costs one frame, and after
`send_timeout` its connection is closed. One that has missed frames gets the whole snapshot.

A frame is compressed once for all clients as well: each ends with a full flush (zlib, Z_FULL_FLUSH), so it
refers to nothing before it, and a client may begin with any of them.
"""

from __future__ import annotations

import asyncio
import zlib
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence

from prefork.admin.snapshot import Snapshot, change, whole

FRAME_S = 1.0
"""From one frame to the next."""
MOST_CLIENTS = 128
"""Half of the connections of the listener: the other half is for probes and scrapers."""
PAST = 300
"""So many frames are kept: for a page that is opened, what was before."""
RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser connects again (HTML Standard, 9.2)."""
GZIP_HEAD = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
"""Of a stream without name and time (RFC 1952, 2.3)."""


class Compressor:
    """What it returns may follow GZIP_HEAD, and any other that it has returned."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def __call__(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_FULL_FLUSH)


class Events:
    """`look()` takes the snapshot of this moment; None: there is no pool any more."""

    def __init__(self, loop: AbstractEventLoop, look: Callable[[], Snapshot | None]) -> None:
        self._loop = loop
        self._look = look
        self._snapshot: Snapshot | None = None
        self._taken = 0.0
        self._number = 0
        """Of the snapshot."""
        self._past: deque[Sequence[float | None]] = deque(maxlen=PAST)
        self._messages: dict[tuple[bool, bool], bytes] = {}
        """For the snapshot, by whether it is whole and whether it is compressed."""
        self._change = b""
        self._compressor: Compressor | None = None
        self._framed = asyncio.Event()
        self._clients = 0
        self._timer: TimerHandle | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether there may be no client more."""
        return self._clients >= MOST_CLIENTS

    @property
    def snapshot(self) -> Snapshot | None:
        """That of the last frame. Without clients it is taken now, if the last one is older than a frame."""
        is_old = self._timer is None and self._loop.time() - self._taken >= FRAME_S
        return self._take() if self._snapshot is None or is_old else self._snapshot

    def _take(self) -> Snapshot | None:
        former, self._snapshot = self._snapshot, self._look()
        self._taken = self._loop.time()
        self._number += 1
        self._messages.clear()
        if self._snapshot is not None:
            self._past.append(self._snapshot.row)
            self._change = change(former, self._snapshot) if former is not None and self._timer else b""
        return self._snapshot

    # --- clients -----------------------------------------------------------------------------------------

    async def stream(self, *, compressed: bool) -> AsyncGenerator[bytes, None]:
        """What one client is sent: the whole snapshot, and what changes from then on."""
        self._clients += 1
        try:
            if self.snapshot is None:
                return
            if self._timer is None:
                self._timer = self._loop.call_at(self._taken + FRAME_S, self._frame)
            number = self._number
            yield (GZIP_HEAD if compressed else b"") + self._message(is_whole=True, compressed=compressed)
            while not self._closed:
                if number == self._number:
                    await self._framed.wait()
                    continue
                is_next, number = number + 1 == self._number, self._number
                yield self._message(is_whole=not is_next, compressed=compressed)
        finally:
            self._clients -= 1

    def _message(self, *, is_whole: bool, compressed: bool) -> bytes:
        """Made once for all clients."""
        key = is_whole, compressed
        if key not in self._messages:
            if compressed:
                if self._compressor is None:
                    self._compressor = Compressor()
                found = self._compressor(self._message(is_whole=is_whole, compressed=False))
            elif is_whole:
                assert self._snapshot is not None
                found = RETRY + whole(self._snapshot, self._past)
            else:
                found = self._change
            self._messages[key] = found
        return self._messages[key]

    # --- frames ------------------------------------------------------------------------------------------

    def _frame(self) -> None:
        if not self._clients:
            self._timer = self._compressor = None
            return
        # First: a snapshot that fails is not the last one.
        self._timer = self._loop.call_at(self._loop.time() + FRAME_S, self._frame)
        if self._take() is None:
            self.close()
        else:
            self._wake()

    def _wake(self) -> None:
        """Those that wait now go on."""
        self._framed.set()
        self._framed.clear()

    def close(self) -> None:
        """Ends each stream: the pool has ended, or another manager goes on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
