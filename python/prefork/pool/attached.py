"""What floors above the pool attach to its manager, such as the control socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from prefork.server.sockets import ListeningSockets

M = TypeVar("M")


class Attached(ABC):
    """It lives as long as the pool (manager). What is not overridden is right for what listens on nothing."""

    def about(self) -> Mapping[str, object]:
        """What `prefork status` and other readers of the scoreboard are told of it."""
        return {}

    @property
    def places(self) -> Sequence[ListeningSockets]:
        """What it listens on as a server does. Another manager in the place of this one finds these sockets
        when it listens there (`kept_sockets.py`).
        """
        return ()

    def pass_on(self) -> tuple[int, Mapping[str, object]] | None:
        """The descriptor of a socket, other than those of `places`, that a manager in the place of this one
        goes on with, and what that has to know, with a `name`.
        """
        return None

    def leave(self) -> None:
        """Another manager goes on: what was begun here is finished here."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """The pool has ended. It raises nothing, also if it was called before."""

    @abstractmethod
    def discard(self) -> None:
        """In a child that was forked with a copy of it: closes the descriptors, and frees nothing."""


Attach: TypeAlias = Callable[[M], Attached | None]
"""Called with the manager when its pool is made."""
