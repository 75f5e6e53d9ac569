"""Streams: pieces of a body, each written when the one before has left the process.

That is the back-pressure: a client that does not read stops its producer, and no more than one piece of its
answer waits in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from prefork.errors import ConnectionGone

if TYPE_CHECKING:
    from prefork._engine import Response

Pieces: TypeAlias = AsyncGenerator[Any, None] | Generator[Any, None, None]


async def drained(response: Response) -> None:
    """Waits until all that was written has left the process. Raises ConnectionGone if the client leaves."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def tell(alive: bool) -> None:
        if not future.done():
            future.set_result(alive)

    if not response.when_drained(tell) or not await future:
        raise ConnectionGone("the client left in the middle of a stream")


async def pump(response: Response, pieces: Pieces) -> None:
    """Writes the pieces of a generator and ends the answer. The generator is closed in every case.

    A client that leaves ends it where it stands: by CancelledError in an asynchronous one that waits for
    something else, so its `finally` blocks run at once.
    """
    task = asyncio.current_task()
    assert task is not None
    response.when_gone(task.cancel)
    try:
        if isinstance(pieces, AsyncGenerator):
            async for piece in pieces:
                await _send(response, piece)
                if response.bodiless:
                    break  # nobody wants the rest, and it may be endless
        else:
            for piece in pieces:
                await _send(response, piece)
                if response.bodiless:
                    break
        if not response.streaming:
            response.content = None  # no piece at all: an empty body
        response.done()
    except ConnectionGone:
        pass  # the error handler heard it when the connection closed
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
        else:
            pieces.close()


async def _send(response: Response, piece: Any) -> None:
    if piece:
        response.write(piece)
        await drained(response)
