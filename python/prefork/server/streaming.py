"""Streams: parts of a body, each sent when the one before has left the process.

That is the back-pressure: a client that does not read stops the producer, and no more than one part of its
response waits in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from prefork.errors import ConnectionGone

if TYPE_CHECKING:
    from prefork._engine import Response
    from prefork.kernel.kernel import Kernel, Session

Parts: TypeAlias = AsyncGenerator[Any, None] | Generator[Any, None, None]


# From events


class EventStreams:
    """Streams whose parts an event makes, the one that `response.stream()` named.

    `warn(text)` is called if there is no such event any more.
    """

    def __init__(self, kernel: Kernel, warn: Callable[[str], object]) -> None:
        self._kernel = kernel
        self._warn = warn
        self._awaited: WeakSet[NextPart] = WeakSet()  # a response that is complete drops its own

    def send_content(self, response: Response) -> bool:
        """Sends the response's content as one part of its stream. False: the client has left.

        When the part has left the process, the event is posted; not if `dont_flush` was given, and not if the
        response has no body: it is complete then.
        """
        try:
            response.write()
        except ConnectionGone:
            return False  # the error hook was called when the connection closed
        if response.streams is not None and not response.streams[2] and not response.bodiless:
            part = NextPart(self, response)
            if response.when_drained(part) and not isinstance(part.target, str):
                self._awaited.add(part)
        return True

    def refers_to(self, session: Session) -> bool:
        """Whether the next part of a stream is that session's, and named it by no alias."""
        return any(self._kernel.find(part.target) is session for part in self._awaited)

    def request(self, part: NextPart) -> None:
        """All that was written has left the process: posts the event that makes the next part."""
        if not self._kernel.post(part.target, part.event, part.response):
            self._warn(f"stream {part.target}.{part.event}: there is no such event any more")
            part.response.abort()


class NextPart:
    """A part of a stream that is to be made when the one before has left the process."""

    def __init__(self, streams: EventStreams, response: Response) -> None:
        assert response.streams is not None
        self.target, self.event, _ = response.streams
        self.response = response
        self._streams = streams

    def __call__(self, alive: bool) -> None:
        if alive:
            self._streams.request(self)


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
        response.report()  # the error hook was called when the connection closed
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
        else:
            parts.close()


async def _send(response: Response, part: Any) -> None:
    if part:
        response.write(part)
        if not response.bodiless:
            await _drained(response)


async def _drained(response: Response) -> None:
    """Waits until all that was written has left the process. Raises ConnectionGone if the client leaves."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(alive: bool) -> None:
        if not future.done():
            future.set_result(alive)

    if not response.when_drained(settle) or not await future:
        raise ConnectionGone("the client left in the middle of a stream")
