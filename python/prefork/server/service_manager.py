"""This process as a service of systemd: ready, reloading, stopping, its status and its watchdog.

Owns what the service manager has been told, and the timer that tells it more. `notify.py` sends it.

Always: it is told that the process is ready when every server of it accepts clients, and that it stops when
a signal ends the last one. Only the process that the service manager started tells it anything: the variables
are taken out of the environment, so neither a worker nor a program that the application starts has them.

It must not know a pool: a role says in one line what it does, and whether a reload is under way.
"""

from __future__ import annotations

import enum
import logging
import os
import time
from asyncio import AbstractEventLoop, TimerHandle
from typing import TYPE_CHECKING, Protocol

from prefork.server import kept_sockets
from prefork.server.environment import notified
from prefork.server.notify import Notifier

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.server.sockets import Listening

logger = logging.getLogger("prefork.server")

LOOK_S = 1.0
"""How often it looks whether a reload has begun or ended."""
STATUS_S = 5.0
"""How often it tells its status, if that has changed."""


class Told(enum.Enum):
    """What the service manager was told last."""

    STARTING = "nothing"
    READY = "READY=1"
    RELOADING = "RELOADING=1"
    STOPPING = "STOPPING=1"
    SUCCEEDED = "MAINPID=, that of another process"


class Activity(Protocol):
    """What a server does now."""

    @property
    def status(self) -> str:
        """In one line, for people."""

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""


class Served(Protocol):
    """A server of this process."""

    @property
    def kernel(self) -> Kernel: ...
    @property
    def listening(self) -> Listening | None: ...
    @property
    def activity(self) -> Activity: ...


class ServiceManager:
    """`watchdog_s` is how often it wants to hear of this process; None: it does not."""

    def __init__(self, notifier: Notifier, watchdog_s: float | None) -> None:
        self.pid = os.getpid()
        self._notifier = notifier
        self._watchdog_s = watchdog_s
        self._told = Told.STARTING
        self._servers: dict[Served, bool] = {}
        """Whether each of them serves."""
        self._status = ""
        self._status_due_s = 0.0
        self._timer: TimerHandle | None = None

    @property
    def address(self) -> str:
        """That of NOTIFY_SOCKET: for a new process that takes the service over."""
        return self._notifier.address

    # --- the servers -------------------------------------------------------------------------------------

    def add(self, server: Served) -> None:
        """A server starts. The process is not ready before it serves."""
        self._servers[server] = False
        if self._told is Told.STOPPING:
            self._told = Told.STARTING  # the program runs its kernel again

    def serving(self, server: Served) -> None:
        """A server accepts clients."""
        self._servers[server] = True
        if self._told is Told.STARTING:
            if all(self._servers.values()):
                self._ready(server.kernel.loop)
        elif self._told is not Told.STOPPING:
            self._keep(server)  # it has opened its sockets anew

    def _ready(self, loop: AbstractEventLoop) -> None:
        for name in kept_sockets.names_left():
            self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")
        for server in self._servers:
            self._keep(server)
        self._told = Told.READY
        self._status = self._describe()
        self._notifier.send(Told.READY.value, f"MAINPID={self.pid}", f"STATUS={self._status}")
        self._look(loop)

    def _keep(self, server: Served) -> None:
        if (sockets := server.listening) is not None:
            for place in (*sockets.places, *sockets.redirecting):
                if place.is_kept:
                    self._notifier.keep(
                        kept_sockets.name_of(place.url), [one.fileno() for one in place.sockets]
                    )

    def remove(self, server: Served, *, ends: bool = False) -> None:
        """A server ends. With the last one the process does, if it was told to: `ends`.

        A program may go on without a server. It would be killed after a while, if it said that it stops.
        """
        self._servers.pop(server, None)
        if ends and not self._servers and self._told not in (Told.STOPPING, Told.SUCCEEDED):
            self._told = Told.STOPPING
            self._notifier.send(Told.STOPPING.value, "STATUS=finishing the open requests")

    # --- a reload ----------------------------------------------------------------------------------------

    def reload(self) -> None:
        """A reload begins. That it has ended is seen from what the servers say of themselves."""
        if self._told is Told.READY:
            self._told = Told.RELOADING
            # It must be later than the moment at which the service manager asked for it.
            now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._notifier.send(Told.RELOADING.value, f"MONOTONIC_USEC={now_us}")

    def main_pid(self, pid: int) -> None:
        """From now on that process is the service, and this one says nothing more."""
        self._told = Told.SUCCEEDED
        self._notifier.send(f"MAINPID={pid}")
        self.end()

    # --- what it hears regularly -------------------------------------------------------------------------

    def _look(self, loop: AbstractEventLoop) -> None:
        self._notifier.flush()
        is_reloading = any(server.activity.is_reloading for server in self._servers)
        if is_reloading:
            self.reload()
        elif self._told is Told.RELOADING:
            self._told = Told.READY
            self._notifier.send(Told.READY.value)
        self._tell_status(loop.time())
        if self._watchdog_s is not None:
            self._notifier.tell("WATCHDOG=1")
        each_s = LOOK_S if self._watchdog_s is None else min(LOOK_S, self._watchdog_s / 2)
        self._timer = loop.call_later(each_s, self._look, loop)

    def _tell_status(self, now_s: float) -> None:
        if now_s < self._status_due_s or self._told is Told.STOPPING:
            return
        self._status_due_s = now_s + STATUS_S
        if (status := self._describe()) != self._status:
            self._status = status
            self._notifier.tell(f"STATUS={status}")

    def _describe(self) -> str:
        return " | ".join(server.activity.status for server in self._servers)

    def end(self) -> None:
        """The kernel stops: nothing is told until the next server starts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._notifier.flush()

    def discard(self) -> None:
        """Closes the descriptor, in a child that was forked with a copy of it."""
        self._notifier.close()


_found: list[ServiceManager | None] = []


def service_manager() -> ServiceManager | None:
    """The one that has started this process; None if there is none, and in its children.

    The first call takes the variables out of the environment.
    """
    if not _found:
        _found.append(_from_environment())
    (found,) = _found
    return found if found is not None and found.pid == os.getpid() else None


def discard() -> None:
    """In a child: closes its copy of the descriptor."""
    for found in _found:
        if found is not None and found.pid != os.getpid():
            found.discard()


def _from_environment() -> ServiceManager | None:
    address, watchdog_s, _ = notified()
    if address.startswith(("/", "@")):
        return ServiceManager(Notifier(address), watchdog_s)
    if address:
        logger.warning("NOTIFY_SOCKET=%s: expected a path or @name; nothing is told there", address)
    return None
