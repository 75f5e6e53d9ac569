"""Events that are called when a connection closes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from prefork._engine import Connection
    from prefork.kernel.kernel import Kernel


class Handler(NamedTuple):
    session: str
    event: str
    args: tuple[Any, ...]


class CloseHandlers:
    """The close handlers of every connection that has one, by the connection's id."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._handlers: dict[int, list[Handler]] = {}

    def add(self, connection: Connection | int, session: str, event: str, args: tuple[Any, ...]) -> bool:
        """Has `event` posted with `args` when the connection closes. False: it is closed.

        `connection` is one, or the id of one that has a handler already.
        """
        number = _number(connection)
        if number not in self._handlers:
            if isinstance(connection, int) or not connection.when_closed(partial(self._closed, number)):
                return False
            self._handlers[number] = []
        self._handlers[number].append(Handler(session, event, args))
        return True

    def remove(self, connection: Connection | int, session: str) -> None:
        """Removes the handlers of one session."""
        number = _number(connection)
        if number in self._handlers:
            kept = [handler for handler in self._handlers[number] if handler.session != session]
            self._handlers[number] = kept

    def _closed(self, number: int) -> None:
        for handler in self._handlers.pop(number, ()):
            self._kernel.post(handler.session, handler.event, *handler.args)


def _number(connection: Connection | int) -> int:
    return connection if isinstance(connection, int) else connection.id
