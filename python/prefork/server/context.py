"""What the parts of a running server share. They know this, and not the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions
    from prefork.kernel.kernel import Kernel, Session
    from prefork.server.hooks import Hooks


@dataclass(frozen=True, slots=True)
class Context:
    """Made when the kernel begins to run and the sockets are open; a forked child inherits it."""

    kernel: Kernel
    session: Session
    """The server itself, as a session: its alias names it in the log."""
    options: ServerOptions
    hooks: Hooks
    address: str
    """The IP address that it listens on, or the path of a Unix socket."""
    port: int | None
    """The TCP port; None for a Unix socket."""
    replace_process: Callable[[], object]
    """In a worker: it finishes its requests and ends, and another takes its place. Elsewhere: nothing."""
