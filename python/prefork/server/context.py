"""What the parts of a running server share. They know this, and not the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions
    from prefork.kernel.kernel import Kernel, Session
    from prefork.server.hooks import Hooks
    from prefork.server.sockets import Place


@dataclass(frozen=True, slots=True)
class Context:
    """Made when the kernel begins to run and the sockets are open; a forked child inherits it."""

    kernel: Kernel
    session: Session
    """The server itself, as a session: its alias names it in the log."""
    options: ServerOptions
    hooks: Hooks
    places: Sequence[Place]
    """Where it listens. The first one is what an application hears of, if a request does not tell."""
    replace_process: Callable[[], object]
    """In a worker: it finishes its requests and ends, and another takes its place. Elsewhere: nothing."""

    @property
    def address(self) -> str:
        """The first address."""
        return self.places[0].address

    @property
    def port(self) -> int | None:
        """The port of the first address."""
        return self.places[0].port
