"""Locks of asyncio go from a loop that has ended to the next one, unless one is locked."""

from __future__ import annotations

import asyncio

from prefork.hosting.loop_bound import unbind


def contend(lock: asyncio.Lock) -> None:
    async def use() -> None:
        async with lock:
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(use(), use())

    asyncio.run(both())


def test_a_lock_that_nothing_holds_is_as_new() -> None:
    lock = asyncio.Lock()
    contend(lock)
    assert unbind() == []
    contend(lock)  # raises RuntimeError if the lock is of the other loop


def test_a_lock_that_a_task_has_left_locked_is_told() -> None:
    lock = asyncio.Lock()
    contend(lock)
    asyncio.run(lock.acquire())
    assert unbind() == ["1 locks of asyncio that are locked"]
    lock.release()
