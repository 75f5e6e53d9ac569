"""The control socket of a pool: commands that change the pool while it runs (manager).

Owns: a Unix socket in the run directory of the user, and the clients on it. It is served by the manager's
loop, so it responds also while every worker is stuck.

Always: only this user and root are heard. The file is removed at the end, and one that a live manager has is
never replaced. What clients do costs a bounded amount of memory and time, and one line of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from prefork.admin import messages
from prefork.admin.commands import COMMANDS, Command
from prefork.admin.connection import Connection, Peer
from prefork.admin.messages import VERSION, Failure, Misuse, Request, read_request
from prefork.admin.run_directory import SUFFIX, Unusable, find_run_directory, sweep
from prefork.admin.running import Running
from prefork.errors import BindError, PreforkError
from prefork.pool.accepting import Accepting
from prefork.pool.attached import Attached
from prefork.server.unix_sockets import Identity, Ownership, bind, identify, remove

if TYPE_CHECKING:
    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer

logger = logging.getLogger("prefork.control")

Log: TypeAlias = Callable[[object], None]
"""Writes a line about a command, with its client: what has happened."""

NAME = "control"
MOST_CLIENTS = 32
ACCEPTED_PER_TURN = 16
BACKLOG = 64
QUIET_S = 60.0
"""After a line about a client that does something wrong, so long no other one is written."""
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def open_control(server: PreForkServer, manager: Manager) -> Control | None:
    """Opens the control socket of a pool. None, and a line in the log: the user can have none.

    Raises BindError if the option `control_socket` names a path that cannot be had.
    """
    wanted = server.options.control_socket
    ownership = Ownership(mode=0o600)
    if wanted is not None:
        return _former(server, manager, wanted) or Control(
            server, manager, wanted, *bind(wanted, BACKLOG, ownership)
        )
    try:
        directory = find_run_directory()
        sweep(directory)
        path = os.path.join(directory, f"{manager.glue}{SUFFIX}")
        return _former(server, manager, path) or Control(
            server, manager, path, *bind(path, BACKLOG, ownership)
        )
    except (Unusable, BindError) as error:
        logger.warning("no control socket: %s; --control-socket names another place, or is off", error)
        return None


def _former(server: PreForkServer, manager: Manager, path: str) -> Control | None:
    """That of the manager whose place this one takes. The file stays, and is never that of no server."""
    former = manager.predecessor
    listener = None if former is None else former.take_attached(NAME, path=path)
    if former is None or listener is None:
        return None
    try:
        control = Control(server, manager, path, listener, identify(path), accepts=False)
    except OSError:  # the file is gone
        listener.close()
        return None
    former.when_alone(control.take_over)
    return control


class Control(Attached):
    """The control socket, while the pool lives."""

    def __init__(
        self,
        server: PreForkServer,
        manager: Manager,
        path: str,
        listener: socket.socket,
        identity: Identity,
        *,
        accepts: bool = True,
    ) -> None:
        self._server = server
        self._manager = manager
        self._path = path
        self._identity = identity
        listener.setblocking(False)
        self._listener = listener
        self._accepting = Accepting(listener)
        self._loop = server.kernel.loop
        self._clients: list[Connection] = []
        """Those that came first are first."""
        self._running: dict[Connection, tuple[asyncio.Task[None], Running, Log]] = {}
        self._quiet_until_s = -math.inf
        self._accepts = accepts
        if accepts:
            self._loop.add_reader(listener.fileno(), self._accept)

    def about(self) -> dict[str, object]:
        return {"control": {"path": self._path, "version": VERSION}}

    # --- an upgrade --------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """The former manager has let go: clients see this one from now on (SO_PEERCRED: listen(2))."""
        self._accepts = True
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def pass_on(self) -> tuple[int, dict[str, object]]:
        return self._listener.fileno(), {"name": NAME, "path": self._path}

    def leave(self) -> None:
        """Another manager has the socket: those that wait here are responded to here."""
        self._accepts = False
        self._loop.remove_reader(self._listener.fileno())
        self._accepting.close()

    # --- clients -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            client = self._accepting.accept()
            if client is None:
                return
            peer = _peer(client)
            if peer.uid not in (os.geteuid(), 0):
                self._refuse(client, peer, "is not the user that runs this server, and not root")
            elif self._has_room():
                connection = Connection(self._loop, client, peer, self._take, self._wrong, self._closed)
                self._clients.append(connection)
            else:
                self._refuse(client, peer, f"is one too many: {MOST_CLIENTS} commands are being carried out")

    def _has_room(self) -> bool:
        """A client that has asked for nothing makes room for one that may."""
        if len(self._clients) >= MOST_CLIENTS:
            idle = next((one for one in self._clients if not one.is_busy), None)
            if idle is not None:
                self._wrong(idle, f"it has asked for nothing, and there are {MOST_CLIENTS} others")
                idle.close()
        return len(self._clients) < MOST_CLIENTS

    def _refuse(self, client: socket.socket, peer: Peer, why: str) -> None:
        with client, contextlib.suppress(OSError):
            client.setblocking(False)
            client.send(messages.failure(Misuse(f"user {peer.uid} {why}"), 0.0))
        self._complain(peer, f"it {why}")

    def _wrong(self, client: Connection, what: str) -> None:
        self._complain(client.peer, what)

    def _complain(self, peer: Peer, what: str) -> None:
        if (now := self._loop.time()) >= self._quiet_until_s:
            self._quiet_until_s = now + QUIET_S
            logger.warning("a client of the control socket (%s) is refused: %s", peer, what)

    def _closed(self, client: Connection) -> None:
        self._clients.remove(client)
        if (found := self._running.pop(client, None)) is not None:
            found[0].cancel()  # what it has begun goes on; it only waits

    # --- commands ----------------------------------------------------------------------------------------

    def _take(self, client: Connection, line: bytes) -> None:
        try:
            request = read_request(line)
            if (command := COMMANDS.get(request.command)) is None:
                known = ", ".join(sorted(COMMANDS))
                raise Misuse(f"expected one of the commands {known}, got {request.command[:40]!r}")
        except Misuse as error:
            self._wrong(client, str(error))
            client.respond(messages.failure(error, 0.0))
            return
        running = Running(self._server, self._manager, client.report, request.timeout_s)
        level = logging.INFO if command.changes(request.arguments) else logging.DEBUG
        log = partial(logger.log, level, "%s (%s): %s", request.command, client.peer)
        task = self._loop.create_task(self._carry_out(client, request, command, running, log))
        self._running[client] = task, running, log

    async def _carry_out(
        self, client: Connection, request: Request, command: Command, running: Running, log: Log
    ) -> None:
        try:
            text, result = await command.function(running, request.arguments)
        except PreforkError as error:
            log(error)
            response = messages.failure(error, running.took_s)
        except Exception:
            logger.exception("the command %s has failed", request.command)
            response = messages.failure(Failure("an error of the server; its log has it"), running.took_s)
        else:
            log(text)
            response = messages.success(text, result, running.took_s)
        self._running.pop(client, None)
        client.respond(response)

    # --- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """The pool has ended: responds to those that wait for that, and closes."""
        for client, (task, running, log) in list(self._running.items()):
            task.cancel()
            if (last := running.at_end) is not None:
                log(last[0])
                client.respond(messages.success(*last, running.took_s))
            else:
                gone = Failure("the server has stopped meanwhile")
                client.respond(messages.failure(gone, running.took_s))
        self._running.clear()
        for client in list(self._clients):
            client.close()
        if self._accepts:
            self._loop.remove_reader(self._accepting.fileno())
            remove(self._path, self._identity)
        self._accepting.close()

    def discard(self) -> None:
        """In a child that was forked with a copy."""
        self._accepting.close()
        for client in self._clients:
            client.discard()


def _peer(client: socket.socket) -> Peer:
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return Peer(pid, uid)
