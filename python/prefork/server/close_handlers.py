"""Events that are called when a connection closes: one of each session for each connection."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from prefork._engine import Connection
    from prefork.kernel.delivery import Target
    from prefork.kernel.kernel import Kernel, Session


class Handler(NamedTuple):
    session: Session
    event: str
    args: tuple[Any, ...]


class CloseHandlers:
    """The close handlers of every connection that has one, by the connection's id and the session's."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._handlers: dict[int, dict[int, Handler]] = {}
        self._sessions: Counter[int] = Counter()

    def add(self, connection: Connection | int, target: Target, event: str, args: tuple[Any, ...]) -> bool:
        """Has `event` posted with `args` when the connection closes, instead of what the session had there.

        False: there is no such connection, or it is closed. Raises UnknownSession and UnknownEvent.
        """
        session, _ = self._kernel.resolve(target, event)
        number = _number(connection)
        if number not in self._handlers:
            if not self._kernel.engine.when_closed(number, partial(self._closed, number)):
                return False
            self._handlers[number] = {}
        if id(session) not in self._handlers[number]:
            self._sessions[id(session)] += 1
        self._handlers[number][id(session)] = Handler(session, event, args)
        return True

    def remove(self, connection: Connection | int, target: Target) -> None:
        """Removes the handler of one session."""
        session = self._kernel.find(target)
        if session is not None and id(session) in self._handlers.get(_number(connection), ()):
            del self._handlers[_number(connection)][id(session)]
            self._forget(session)

    def refers_to(self, session: Session) -> bool:
        """Whether that session has a handler."""
        return id(session) in self._sessions

    def _closed(self, number: int) -> None:
        for session, event, args in self._handlers.pop(number, {}).values():
            self._kernel.post(session, event, *args)
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._sessions[id(session)] -= 1
        if not self._sessions[id(session)]:
            del self._sessions[id(session)]
            self._kernel.end_if_unreachable(session)


def _number(connection: Connection | int) -> int:
    return connection if isinstance(connection, int) else connection.id
