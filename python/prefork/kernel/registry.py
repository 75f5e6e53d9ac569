"""The sessions of a kernel, and how they are found: by alias, by number, or as they are.

Always: an alias belongs to one session; a session between its `_start` and its `_stop` is marked as started.
The table survives a fork, as the sessions do. It must not know how an event is delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from prefork.errors import OptionError, UnknownSession
from prefork.kernel.events import Handler, Recipient, expect_handler

R = TypeVar("R", bound=Recipient)


class Registry(Generic[R]):
    """Sessions are distinguished by identity: a subclass may define equality and be unhashable."""

    def __init__(
        self,
        targets: dict[str, tuple[R, dict[str, Handler]]] | None = None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.targets = {} if targets is None else targets
        """The sessions that have an alias, and their handlers by event. `changed` is called when it has
        changed."""
        self._changed = changed
        self.unnamed: dict[int, R] = {}
        """The sessions without an alias, by number."""
        self._sessions: dict[int, R] = {}
        self._names: dict[int, list[str]] = {}
        self._started: dict[int, R] = {}

    @property
    def sessions(self) -> list[R]:
        """All sessions, in the order they were added."""
        return list(self._sessions.values())

    def add(self, session: R) -> None:
        """Takes in a session under its alias. Raises OptionError if the alias is taken."""
        if session.alias is not None:
            self.name(session, session.alias)
        else:
            self.unnamed[session._id] = session
        self._sessions[session._id] = session

    def remove(self, session: R) -> None:
        """Forgets a session and its aliases."""
        self._sessions.pop(session._id, None)
        self.unnamed.pop(session._id, None)
        for alias in self._names.pop(session._id, ()):
            del self.targets[alias]
            self._changed()

    def name(self, session: R, alias: str) -> None:
        """Gives one more alias to a session. Raises OptionError if another session has it."""
        holder, _ = self.targets.setdefault(alias, (session, session._handlers))
        if holder is not session:
            raise OptionError(f"alias {alias!r} belongs to a {type(holder).__name__} already; choose another")
        self._changed()
        names = self._names.setdefault(session._id, [])
        if alias not in names:
            names.append(alias)
        self.unnamed.pop(session._id, None)

    def unname(self, session: R, alias: str) -> None:
        """Takes an alias from a session. Raises UnknownSession if it is not this session's."""
        if self.find(alias) is not session:
            raise UnknownSession(f"session {session} has no alias {alias!r}")
        del self.targets[alias]
        self._changed()
        self._names[session._id].remove(alias)
        if not self._names[session._id]:
            self.unnamed[session._id] = session

    def has(self, session: R) -> bool:
        """Whether that session is in."""
        return self._sessions.get(session._id) is session

    def find(self, target: object) -> R | None:
        """The session that has this alias or number, or is `target` itself. None if there is none."""
        if isinstance(target, str):
            found = self.targets.get(target)
            return None if found is None else found[0]
        if isinstance(target, Recipient):
            session = self._sessions.get(target._id)
            return session if session is target else None
        return self._sessions.get(target) if isinstance(target, int) else None

    def resolve(self, target: object, event: str) -> tuple[R, Handler]:
        """A session and its handler. Raises UnknownSession and UnknownEvent."""
        session = self.find(target)
        if session is None:
            what = f"no session has the alias {target!r}"
            if isinstance(target, int):
                what = f"no session has the id {target}"
            elif isinstance(target, Recipient):
                what = f"session {target} is not in this kernel"
            elif not isinstance(target, str):
                what = f"{target!r} is no session: expected an alias, a session or its id"
            raise UnknownSession(f"{what}; event {event!r} cannot reach it")
        return session, expect_handler(session, event)

    def start(self, session: R) -> bool:
        """Marks a session as started. False: it was."""
        if session._id in self._started:
            return False
        self._started[session._id] = session
        return True

    def stop(self, session: R) -> bool:
        """Takes that mark away. False: it had none."""
        return self._started.pop(session._id, None) is not None

    def has_started(self, session: R) -> bool:
        """Whether it is between its `_start` and its `_stop`."""
        return session._id in self._started

    @property
    def started(self) -> list[R]:
        """The sessions between their `_start` and their `_stop`."""
        return list(self._started.values())
