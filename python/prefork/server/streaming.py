"""Streams: parts of a body, each sent when the one before has left the process.

That is the back-pressure: a client that does not read stops the producer, and no more than one part of its
response waits in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from prefork.errors import ConnectionGone

if TYPE_CHECKING:
    from prefork._engine import Response
    from prefork.kernel.kernel import Kernel

Parts: TypeAlias = AsyncGenerator[Any, None] | Generator[Any, None, None]


# From events


def send_content(response: Response, kernel: Kernel, warn: Callable[[str], object]) -> None:
    """Sends the response's content as one part of its stream.

    When it has left the process, the event that `response.stream()` named is posted; not if `dont_flush` was
    given. `warn(text)` is called if there is no such event. A response that has no body ends instead.
    """
    try:
        response.write()
    except ConnectionGone:
        return  # the error hook was called when the connection closed
    if response.streams is None or response.streams[2]:
        return
    if response.bodiless:
        response.done()
    else:
        response.when_drained(partial(_post_next, response, kernel, warn))


def _post_next(response: Response, kernel: Kernel, warn: Callable[[str], object], alive: bool) -> None:
    if not alive or response.streams is None:
        return
    session, event, _ = response.streams
    if not kernel.post(session, event, response):
        warn(f"stream {session}.{event}: there is no such event any more")
        response.close()


# From generators


async def pump(response: Response, parts: Parts) -> None:
    """Sends what a generator yields and ends the response. The generator is closed in every case.

    A client that leaves ends it where it stands: by CancelledError in an asynchronous one that waits for
    something else, so its `finally` blocks run at once.
    """
    task = asyncio.current_task()
    assert task is not None
    response.when_gone(task.cancel)
    try:
        if isinstance(parts, AsyncGenerator):
            async for part in parts:
                await _send(response, part)
                if response.bodiless:
                    break  # the rest is not sent, and may be endless
        else:
            for part in parts:
                await _send(response, part)
                if response.bodiless:
                    break
        if not response.streaming:
            response.content = None  # no part at all: an empty body
        response.done()
    except ConnectionGone:
        pass  # the error hook was called when the connection closed
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
        else:
            parts.close()


async def _send(response: Response, part: Any) -> None:
    if part:
        response.write(part)
        await _drained(response)


async def _drained(response: Response) -> None:
    """Waits until all that was written has left the process. Raises ConnectionGone if the client leaves."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(alive: bool) -> None:
        if not future.done():
            future.set_result(alive)

    if not response.when_drained(settle) or not await future:
        raise ConnectionGone("the client left in the middle of a stream")
