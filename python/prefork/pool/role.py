"""What a `PreForkServer` is in this process: on its own, the manager of a pool, or a worker of one.

A process plays one role, and an object never asks which: what differs by process is a method of `Role`, and
each role has its own. `Standalone` is here; `manager.py` and `worker.py` have the others.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod

from prefork.server.server import INSTEAD, HTTPServer

SIZES_ITSELF = "the pool sizes itself, by --min-spare, --max-spare and --max-clients"
INSTEAD_OF_POOL: dict[int, str] = INSTEAD | {
    signal.SIGUSR2: "no server takes over in place; new code takes a restart, and HUP renews the workers",
    signal.SIGTTIN: SIZES_ITSELF,
    signal.SIGTTOU: SIZES_ITSELF,
}


class Role(ABC):
    """The half of a `PreForkServer` that differs by process. The methods mean what the server's do."""

    is_child = False
    instead: dict[int, str] = INSTEAD
    """What to say of a signal that has no use here."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server

    @property
    def glue(self) -> str | None:
        """The name under which `prefork status` finds the pool, in its manager."""
        return None

    @property
    def workers(self) -> list[int]:
        """The pids of the workers, oldest first, in their manager."""
        return []

    @abstractmethod
    def begin(self) -> None:
        """The sockets are bound: serve, or have workers serve."""

    @abstractmethod
    def start_listen(self) -> bool: ...

    @abstractmethod
    def stop_listen(self) -> bool: ...

    @abstractmethod
    def shutdown(self, *, graceful: bool) -> None: ...

    @abstractmethod
    def may_change(self, what: str) -> bool:
        """Whether `what`, an event that changes handlers, is allowed. Logs if it is not."""

    @abstractmethod
    def replace_workers(self) -> None:
        """Replaces the workers by fresh ones, one after the other, if this process has any."""

    @abstractmethod
    def replace_worker(self) -> None:
        """Ends this process gracefully, if it is a worker; its manager spawns another."""

    @abstractmethod
    def gone(self) -> None:
        """All that served has ended: the connections of this process, or its workers."""

    @abstractmethod
    def run_ends(self) -> None:
        """The kernel stops."""

    @abstractmethod
    def stay_behind(self) -> None:
        """This process has become a worker of another server."""


class Standalone(Role):
    """No pool: this process serves, as with `HTTPServer`. Also the role before the kernel runs."""

    def begin(self) -> None:
        HTTPServer._begin(self.server)

    def start_listen(self) -> bool:
        return HTTPServer.start_listen(self.server)

    def stop_listen(self) -> bool:
        return HTTPServer.stop_listen(self.server)

    def shutdown(self, *, graceful: bool) -> None:
        HTTPServer.shutdown(self.server, graceful=graceful)

    def may_change(self, what: str) -> bool:  # noqa: ARG002
        return True

    def replace_workers(self) -> None: ...

    def replace_worker(self) -> None: ...

    def gone(self) -> None:
        HTTPServer._gone(self.server)

    def run_ends(self) -> None:
        HTTPServer._run_ends(self.server)

    def stay_behind(self) -> None:
        HTTPServer._stay_behind(self.server)
