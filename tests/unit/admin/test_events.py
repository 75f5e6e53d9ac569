"""The stream of frames: one computation for all clients, none without, compressed parts that fit together."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from prefork.admin import events
from prefork.admin.events import Events
from prefork.admin.live import accepts_gzip
from prefork.admin.snapshot import Sampler, Snapshot
from support.reports import NO_TIMES, report, worker


class Look:
    """Takes snapshots of a pool that serves a request each time."""

    def __init__(self) -> None:
        self.count = 0
        self.ended = False
        self.fails_at = 0
        self._sampler = Sampler()

    def __call__(self) -> Snapshot | None:
        self.count += 1
        if self.count == self.fails_at:
            raise ValueError("no snapshot")
        if self.ended:
            return None
        return self._sampler.take(
            report(worker(0), uptime_s=float(self.count), requests=self.count), NO_TIMES
        )


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setattr(events, "FRAME_S", 0.005)
    return Look()


def read(data: bytes) -> dict[str, Any]:
    (line,) = [line for line in data.split(b"\n") if line.startswith(b"data: ")]
    found: dict[str, Any] = json.loads(line[6:])
    return found


async def ask(stream: AsyncGenerator[bytes, None], count: int) -> list[bytes]:
    return [await anext(stream) for _ in range(count)]


def test_all_clients_share_one_computation(look: Look) -> None:
    async def run() -> None:
        made = Events(asyncio.get_running_loop(), look)
        streams = [made.stream(compressed=False) for _ in range(100)]
        first, *others = await asyncio.gather(*(ask(stream, 5) for stream in streams))
        assert all(one == first for one in others)
        assert look.count <= 6
        assert "past" in read(first[0])
        assert [read(one)["facts"] for one in first[1:]] == [{"requests": number} for number in range(2, 6)]
        made.close()

    asyncio.run(run())


def test_without_a_client_there_is_no_work(look: Look) -> None:
    async def run() -> None:
        made = Events(asyncio.get_running_loop(), look)
        stream = made.stream(compressed=False)
        await ask(stream, 3)
        await stream.aclose()
        while made._timer is not None:
            await asyncio.sleep(0.001)
        count = look.count
        await asyncio.sleep(0.05)
        assert look.count == count
        assert not made.is_full

    asyncio.run(run())


def test_pages_share_a_snapshot_for_the_time_of_a_frame(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(events, "FRAME_S", 60.0)
        made = Events(asyncio.get_running_loop(), look)
        assert made.snapshot is made.snapshot
        assert look.count == 1

    asyncio.run(run())


def test_a_client_that_has_missed_frames_gets_the_whole_snapshot(look: Look) -> None:
    async def run() -> None:
        made = Events(asyncio.get_running_loop(), look)
        slow, quick = made.stream(compressed=False), made.stream(compressed=False)
        await ask(slow, 1)
        await ask(quick, 4)
        found = read(await anext(slow))
        assert found["facts"]["requests"] == found["past"][-1][0] == look.count
        made.close()

    asyncio.run(run())


def test_compressed_frames_fit_together_wherever_a_client_begins(look: Look) -> None:
    async def run() -> None:
        made = Events(asyncio.get_running_loop(), look)
        plain, early = made.stream(compressed=False), made.stream(compressed=True)
        texts, packed = await asyncio.gather(ask(plain, 4), ask(early, 4))
        late = made.stream(compressed=True)
        more = await ask(late, 3)
        for parts in (packed, more):
            unpacker = zlib.decompressobj(wbits=31)
            found = [unpacker.decompress(part) for part in parts]
            assert all(one.endswith(b"\n\n") for one in found)  # each can be read when it comes
        assert b"".join(texts) == zlib.decompressobj(wbits=31).decompress(b"".join(packed))
        made.close()

    asyncio.run(run())


def test_the_streams_end_with_the_pool(look: Look) -> None:
    async def run() -> None:
        made = Events(asyncio.get_running_loop(), look)
        stream = made.stream(compressed=False)
        await ask(stream, 2)
        look.ended = True
        assert [part async for part in stream] == []
        again = made.stream(compressed=False)
        assert [part async for part in again] == []

    asyncio.run(run())


def test_a_snapshot_that_fails_is_not_the_last_one(look: Look) -> None:
    async def run() -> None:
        loop, failed = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
        look.fails_at = 3
        made = Events(loop, look)
        first, *others = await ask(made.stream(compressed=False), 4)
        assert [read(one)["facts"]["requests"] for one in (first, *others)] == [1, 2, 4, 5]
        assert len(failed) == 1
        made.close()

    asyncio.run(run())


def test_there_is_a_limit_on_clients(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(events, "MOST_CLIENTS", 2)
        made = Events(asyncio.get_running_loop(), look)
        streams = [made.stream(compressed=False) for _ in range(2)]
        assert not made.is_full
        for stream in streams:
            await anext(stream)
        assert made.is_full
        await streams[0].aclose()
        assert not made.is_full
        made.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("", False),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("identity", False),
        ("*", False),
    ],
)
def test_what_a_client_accepts(field: str, accepted: bool) -> None:
    assert accepts_gzip(field) is accepted
