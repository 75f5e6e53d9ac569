"""Clients that check each byte of a response, while the server under test is changed.

Each goes on until it is told to end, and counts in a `Tally`: a request that gets no right response has
failed, and a kept connection that the server ends or announces to end is closed. They talk to
bench/apps/traffic.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.apps.traffic import PIECES

TIMEOUT_S = 20.0
PARTS = 5
PART = b"0123456789abcdef" * 256
PART_PAUSE_S = 0.03
PIPELINED = 8
IDLE_S = 0.01

KEPT, ONE_SHOT, UPLOAD, STREAM, PIPELINE = "keep-alive", "one-shot", "slow upload", "stream", "pipelined"

Check = Callable[[bytes], bool]

_numbers = itertools.count(1)


@dataclass
class Tally:
    """What the clients have seen. `failed` and `closed` say what was seen, with the kind of client.

    `failed_at` has the client's port of each request that failed; 0 without a connection.
    """

    responses: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    failed_at: list[int] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


class Refused(Exception):
    """A response is not the right one."""


@dataclass(eq=False)
class Client:
    """A connection that is opened again when the server has closed it.

    `under_way` are the requests on it that have no response yet.
    """

    kind: str
    port: int
    tally: Tally
    tls: ssl.SSLContext | None = None
    under_way: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    @property
    def local_port(self) -> int:
        """0: there is no connection."""
        return int(self._writer.get_extra_info("sockname")[1]) if self._writer is not None else 0

    async def exchange(self, requests: Iterable[bytes], checks: Sequence[Check]) -> None:
        """Sends the parts of requests, with pauses, and has each response checked."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._exchange(requests, checks)
        except (OSError, EOFError, Refused, TimeoutError) as error:
            self.tally.failed.append(f"{self.kind}: {error!r}")
            self.tally.failed_at.append(self.local_port)
            self.close()
        self.under_way = 0

    async def _exchange(self, requests: Iterable[bytes], checks: Sequence[Check]) -> None:
        if self._reader is not None and self._reader.at_eof():
            self.tally.closed.append(f"{self.kind}: between requests")
            self.close()
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
        assert self._reader is not None
        self.under_way = len(checks)
        for number, part in enumerate(requests):
            if number:
                await asyncio.sleep(PART_PAUSE_S)
            self._writer.write(part)
            await self._writer.drain()
        ends = False
        for is_right in checks:
            if ends:
                raise Refused("the server ends a connection with requests on it")
            body, ends = await _response(self._reader)
            self.under_way -= 1
            if not is_right(body):
                raise Refused(f"{body[:100]!r}")
            self.tally.responses[self.kind] += 1
        if ends:
            if self.kind != ONE_SHOT:
                self.tally.closed.append(f"{self.kind}: announced")
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


async def _response(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Its body, and whether the connection ends."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        raise Refused(head.decode(errors="replace").partition("\r\n")[0])
    ends = b"\r\nconnection: close" in head
    _, length, rest = head.partition(b"\r\ncontent-length:")
    if length:
        return await reader.readexactly(int(rest.partition(b"\r\n")[0])), ends
    if b"\r\ntransfer-encoding: chunked" not in head:
        raise Refused(f"neither a length nor chunks: {head!r}")
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body, ends


# --- the kinds -------------------------------------------------------------------------------------------


def _head(method: str, path: str, name: int, *fields: str) -> bytes:
    return "\r\n".join((f"{method} /{path}/{name} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def _says(name: int, received: bytes = b"") -> Check:
    expected = f"{name} {zlib.crc32(received)} ".encode()
    return lambda body: body.startswith(expected) and body.endswith(b"\n")


def _streams(name: int) -> Check:
    expected = [f"{name}.{number}".encode() for number in range(PIECES)]
    return lambda body: [line.split()[0] for line in body.splitlines()] == expected


def requests_of(kind: str, path: str, name: int) -> tuple[list[bytes], list[Check]]:
    """The parts of the next requests of a client, and the checks of their responses."""
    if kind == UPLOAD:
        chunk = b"%x\r\n%b\r\n" % (len(PART), PART)
        parts = [_head("POST", path, name, "Transfer-Encoding: chunked"), *[chunk] * PARTS, b"0\r\n\r\n"]
        return parts, [_says(name, PART * PARTS)]
    if kind == STREAM:
        return [_head("GET", "stream", name)], [_streams(name)]
    if kind == PIPELINE:
        return [_head("GET", path, name) * PIPELINED], [_says(name)] * PIPELINED
    fields = ["Connection: close"] if kind == ONE_SHOT else []
    return [_head("GET", path, name, *fields)], [_says(name)]


@contextlib.asynccontextmanager
async def traffic(
    clients: Sequence[Client], path: str = "hello", idle_s: float = IDLE_S
) -> AsyncIterator[None]:
    """The clients go on meanwhile. At the end each gets the responses that it waits for."""
    is_over = asyncio.Event()

    async def run(client: Client) -> None:
        while not is_over.is_set():
            await client.exchange(*requests_of(client.kind, path, next(_numbers)))
            await asyncio.sleep(idle_s)
        client.close()

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(run(client))
        try:
            yield
        finally:
            is_over.set()
