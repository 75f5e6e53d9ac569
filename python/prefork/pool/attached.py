"""What floors above the pool attach to its manager, such as the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from prefork.server.sockets import ListeningSockets

M = TypeVar("M")


class Attached(Protocol):
    """It lives as long as the pool (manager)."""

    def about(self) -> Mapping[str, object]:
        """What `prefork status` and other readers of the scoreboard are told of it."""

    @property
    def places(self) -> Sequence[ListeningSockets]:
        """What it listens on as a server does. Another manager in the place of this one finds these sockets
        when it listens there (`kept_sockets.py`).
        """

    def pass_on(self) -> tuple[int, Mapping[str, object]] | None:
        """The descriptor of a socket that a manager in the place of this one goes on with, and what that has
        to know, with a `name`.
        """

    def leave(self) -> None:
        """Another manager goes on with it: what was begun here is finished here."""

    def close(self) -> None:
        """The pool has ended. It raises nothing."""

    def discard(self) -> None:
        """In a child that was forked with a copy of it: closes the descriptors, and frees nothing."""


Attach: TypeAlias = Callable[[M], Attached | None]
"""Called with the manager when its pool is made."""
