"""The sessions of a kernel and their aliases.

Always: an alias belongs to one session; a session between its `_start` and its `_stop` is marked as started.
The table survives a fork, as the sessions do. It must not know how an event is delivered.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from prefork.errors import OptionError, UnknownSession
from prefork.kernel.events import Handler, Recipient, expect_handler

R = TypeVar("R", bound=Recipient)


class Registry(Generic[R]):
    """Sessions are distinguished by identity: a subclass may define equality and be unhashable."""

    def __init__(self) -> None:
        self.sessions: list[R] = []
        self.aliases: dict[str, R] = {}
        self._started: dict[int, R] = {}

    def add(self, session: R) -> None:
        """Takes in a session under its alias. Raises OptionError if the alias is taken."""
        if session.alias is not None:
            self.name(session, session.alias)
        self.sessions.append(session)

    def remove(self, session: R) -> None:
        """Forgets a session and its aliases."""
        self.sessions = [other for other in self.sessions if other is not session]
        self.aliases = {name: other for name, other in self.aliases.items() if other is not session}

    def name(self, session: R, alias: str) -> None:
        """Gives one more alias to a session. Raises OptionError if another session has it."""
        holder = self.aliases.setdefault(alias, session)
        if holder is not session:
            raise OptionError(f"alias {alias!r} belongs to a {type(holder).__name__} already; choose another")

    def unname(self, session: R, alias: str) -> None:
        """Takes an alias from a session. Raises UnknownSession if it is not this session's."""
        if self.aliases.get(alias) is not session:
            raise UnknownSession(f"session {session} has no alias {alias!r}")
        del self.aliases[alias]

    def resolve(self, alias: str, event: str) -> tuple[R, Handler]:
        """The session of an alias and its handler. Raises UnknownSession and UnknownEvent."""
        session = self.aliases.get(alias)
        if session is None:
            raise UnknownSession(f"no session has the alias {alias!r}; event {event!r} cannot reach it")
        function = session._handlers.get(event)
        return session, function if function is not None else expect_handler(session, event)

    def start(self, session: R) -> bool:
        """Marks a session as started. False: it was."""
        if id(session) in self._started:
            return False
        self._started[id(session)] = session
        return True

    def stop(self, session: R) -> bool:
        """Takes that mark away. False: it had none."""
        return self._started.pop(id(session), None) is not None

    @property
    def started(self) -> list[R]:
        """The sessions between their `_start` and their `_stop`."""
        return list(self._started.values())
