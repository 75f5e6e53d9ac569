"""Whether an exception comes of a client's leaving alone, or is an error of the application.

An application that serves a client that has left ends with an exception as a rule, and that is no error: the
log says nothing of it. An error that occurs while it ends is one, and must be found in the log.
"""

from __future__ import annotations

from asyncio import CancelledError, QueueEmpty

from prefork.errors import ConnectionGone

FRAMEWORKS = frozenset(
    {
        "ClientDisconnect",  # Starlette, FastAPI, Litestar
        "WebSocketDisconnect",  # Starlette, FastAPI, Litestar
        "WebSocketDisconnected",  # Falcon
        "RequestAborted",  # Django
        "MessageAborted",  # BlackSheep
    }
)
"""What frameworks raise when they receive `http.disconnect` or `websocket.disconnect`."""

SIGNS = (StopIteration, StopAsyncIteration, GeneratorExit, TimeoutError, QueueEmpty)
"""What is raised to be handled: a stream sends a comment when its queue was empty for a while."""


def comes_of_disconnect(error: BaseException) -> bool:
    """Whether the exception, with all that it is chained to and all that it groups, comes of a disconnect.

    What is raised `from` such an exception translates it. What is raised while one is handled is an error of
    its own, and so is one whose handler found that the client has left, as that of an error page does.
    """
    seen: set[int] = set()
    left: list[BaseException] = [error]
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            left += error.exceptions
        elif error.__cause__ is None and not _says_disconnect(error):
            return False
        if error.__cause__ is not None:
            left.append(error.__cause__)
        elif not error.__suppress_context__ and not isinstance(error.__context__, SIGNS):
            left += filter(None, [error.__context__])
    return True


def _says_disconnect(error: BaseException) -> bool:
    """Whether `send` raised it because the client had left, a framework did, or the call was cancelled."""
    if isinstance(error, ConnectionGone | CancelledError):
        return True
    return any(kind.__name__ in FRAMEWORKS for kind in type(error).__mro__)
