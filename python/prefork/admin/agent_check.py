"""Tells load balancers how much work to send here: HAProxy's agent check, on a port of its own (manager).

A client connects, gets one line (`weight.py`) and the end of the connection. The manager's loop serves it, so
it responds while every worker is stuck, and while the pool drains.

Always: a client that never reads, or sends what is not asked for, costs one send and is forgotten. Where a
token is needed, the client's first line is it (HAProxy's `agent-send`): of clients that have not sent it
there are MOST_CLIENTS at most, each for SENT_WITHIN_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prefork.admin.access import check_reach, owners_only, server_token
from prefork.admin.running import LOOK_S
from prefork.admin.weight import WINDOW_S, Balancers, Moment, Standing, line_for
from prefork.pool.accepting import Accepting
from prefork.pool.attached import Attached
from prefork.pool.policy import State
from prefork.pool.supervisor import Phase
from prefork.server.sockets import listen

if TYPE_CHECKING:
    from prefork.pool.manager import Manager
    from prefork.pool.overview import Overview
    from prefork.pool.server import PreForkServer
    from prefork.server.sockets import ListeningSockets

logger = logging.getLogger("prefork.admin")

SAMPLE_S = 0.25
"""How often the pool is looked at, while balancers ask."""
ASKED_WITHIN_S = 10.0
"""It is looked at for so long after a balancer has asked."""
TOLD_TIMES = 2
"""How often it is told before the listener closes: several processes may ask from one address."""
TOLD_WITHIN_S = 5.0
SETTLED_S = 0.1
"""What a balancer may take to act on what it was told."""
ACCEPTED_PER_TURN = 16
MOST_CLIENTS = 64
SENT_WITHIN_S = 2.0
LONGEST_BYTES = 512
QUIET_S = 60.0
"""After a line about a client that is refused, so long no other one is written."""


def open_agent_check(server: PreForkServer) -> Callable[[Manager], AgentCheck]:
    """Opens the sockets, while the process may. Raises BindError and OptionError. What is returned is called
    when there is a pool, and attaches the listener to it.
    """
    options = server.options
    places: list[ListeningSockets] = []
    token = server_token(options.admin_token_file)
    try:
        for endpoint in options.agent_check:
            places.append(place := listen(owners_only(endpoint)))
            place.is_kept = False  # the service manager is given those of the servers that it waits for
            check_reach("agent_check", place, token)
            if place.port is not None:
                for one in place.sockets:  # a client need not send anything
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
    except BaseException:
        for place in places:
            place.close()
        raise
    return lambda manager: AgentCheck(server.kernel.loop, manager, places, token)


class Outlook:
    """What the pool had in the last seconds, and what balancers are told of it."""

    def __init__(self, loop: AbstractEventLoop, manager: Manager) -> None:
        self._loop = loop
        self._manager = manager
        self._moments: deque[Moment] = deque(maxlen=math.ceil(2 * WINDOW_S / SAMPLE_S))
        self._balancers = Balancers()
        self._standing = Standing.SERVES
        self._serves_since_s = loop.time()
        self._asked_s = -math.inf
        self._timer: TimerHandle | None = None
        self._told: Counter[str] | None = None
        """How often each balancer was told that the node is about to leave; None if it is not."""

    def line(self, balancer: str) -> bytes:
        """What a balancer, which asks now, is told. `balancer` is its address."""
        now_s = self._asked_s = self._loop.time()
        self._look(now_s)
        if self._timer is None:
            self._timer = self._loop.call_later(SAMPLE_S, self._look_again)
        is_back = self._balancers.is_back(balancer, self._serves_since_s, now_s)
        if self._told is not None:
            self._told[balancer] += 1
        return line_for(self._standing, self._moments, now_s, is_back=is_back).encode() + b"\n"

    async def tell_leave(self, within_s: float) -> None:
        """Tells the balancers that the node is about to leave, while it serves on. Returns when those that
        have asked lately know, or after `within_s`.
        """
        loop, told = self._loop, Counter[str]()
        if _standing(self._manager.overview()) is not Standing.SERVES:
            return
        balancers = self._balancers.recent(ASKED_WITHIN_S, loop.time())
        until_s = loop.time() + min(within_s, TOLD_WITHIN_S)
        self._told = told
        try:
            while loop.time() < until_s and any(told[one] < TOLD_TIMES for one in balancers):
                await asyncio.sleep(LOOK_S)
            if balancers:
                await asyncio.sleep(SETTLED_S)
        finally:
            self._told = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        self._look(now_s)
        if now_s - self._asked_s < ASKED_WITHIN_S:
            self._timer = self._loop.call_later(SAMPLE_S, self._look_again)

    def _look(self, now_s: float) -> None:
        """Many balancers that ask must not make the average one of the last moment."""
        pool = self._manager.overview()
        standing = Standing.LEAVES if self._told is not None else _standing(pool)
        if standing is not self._standing:
            self._standing = standing
            self._serves_since_s = now_s
            self._moments.clear()
        is_new = not self._moments or now_s - self._moments[-1].at_s >= SAMPLE_S / 2
        if pool is not None and is_new:
            self._moments.append(self._moment(pool, now_s))

    def _moment(self, pool: Overview, now_s: float) -> Moment:
        listening = self._manager.listener.sockets
        unaccepted = sum(place.waiting or 0 for place in listening.places) if listening is not None else 0
        return Moment(
            now_s,
            spare=pool.count(State.SPARE),
            active=pool.count(State.ACTIVE),
            most=pool.limits.max_clients,
            can_grow=not pool.is_failing,
            waiting=unaccepted + self._manager.resources.queue_length,
        )


def _standing(pool: Overview | None) -> Standing:
    if pool is None or not (pool.keeps or pool.phase == Phase.PAUSED.value):
        return Standing.LEAVES
    if pool.keeps:
        return Standing.SERVES
    return Standing.LEAVES if pool.slots else Standing.PAUSED


class AgentCheck(Attached):
    """The listener, as what is attached to a manager. `token` is what a client over TCP has to send; None:
    nothing.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        manager: Manager,
        places: Sequence[ListeningSockets],
        token: bytes | None,
    ) -> None:
        self._loop = loop
        self._places = places
        self._token = token
        self._outlook = Outlook(loop, manager)
        self._accepting = [Accepting(one) for place in places for one in place.sockets]
        self._clients: dict[socket.socket, TimerHandle] = {}
        """Those that have not sent the token, and until when they may. The first is the oldest."""
        self._quiet_until_s = -math.inf
        manager.before_drain.append(self._outlook.tell_leave)
        if manager.predecessor is None:
            self._accept_clients()
        else:
            manager.predecessor.when_alone(self._take_over)

    def about(self) -> dict[str, object]:
        return {"agent_check": [str(place.endpoint) for place in self._places]}

    @property
    def places(self) -> Sequence[ListeningSockets]:
        return self._places

    # --- an upgrade --------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Another manager responds from now on."""
        self._lend(lent=True)
        self.close()

    def _take_over(self) -> None:
        """The former manager has let go of the sockets."""
        self._lend(lent=False)
        self._accept_clients()

    def _lend(self, *, lent: bool) -> None:
        for place in self._places:
            place.lend(lent=lent)

    # --- clients -----------------------------------------------------------------------------------------

    def _accept_clients(self) -> None:
        for one in self._accepting:
            self._loop.add_reader(one.fileno(), self._accept, one)

    def _accept(self, accepting: Accepting) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            client = accepting.accept()
            if client is None:
                return
            client.setblocking(False)
            if self._token is None or client.family == socket.AF_UNIX:
                self._respond(client)
            else:
                self._wait_for_token(client)

    def _respond(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # it has left
            client.send(self._outlook.line(_address_of(client)))
            client.shutdown(socket.SHUT_WR)
            client.recv(LONGEST_BYTES)  # what is left unread would reset the connection, and the line with it

    def _wait_for_token(self, client: socket.socket) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            self._refuse(
                next(iter(self._clients)), f"there are {MOST_CLIENTS} more, and it has sent no token"
            )
        self._clients[client] = self._loop.call_later(
            SENT_WITHIN_S, self._refuse, client, f"it has sent no token within {SENT_WITHIN_S:g} s"
        )
        self._loop.add_reader(client.fileno(), self._read, client)

    def _read(self, client: socket.socket) -> None:
        """The token comes whole: it fits into one segment."""
        from hmac import compare_digest  # here: it brings the library of OpenSSL, and `server_token` has it

        assert self._token is not None
        try:
            line = client.recv(LONGEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            line = b""
        if not line:
            self._forget(client)
            client.close()
        elif compare_digest(line.partition(b"\n")[0].strip(), self._token):
            self._forget(client)
            self._respond(client)
        else:
            self._refuse(client, "what it has sent is not the token of --admin-token-file")

    def _refuse(self, client: socket.socket, why: str) -> None:
        self._complain(_address_of(client), why)
        self._forget(client)
        client.close()

    def _forget(self, client: socket.socket) -> None:
        self._clients.pop(client).cancel()
        self._loop.remove_reader(client.fileno())

    def _complain(self, address: str, why: str) -> None:
        if (now_s := self._loop.time()) >= self._quiet_until_s:
            self._quiet_until_s = now_s + QUIET_S
            logger.warning("a client of the agent check (%s) is refused: %s", address, why)

    # --- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Also after `leave`, which does the same."""
        for one in self._accepting:
            self._loop.remove_reader(one.fileno())
        for client in list(self._clients):
            self._forget(client)
            client.close()
        self._outlook.close()
        self._close_sockets()

    def discard(self) -> None:
        for client in self._clients:
            client.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for place in self._places:
            place.close()
        for one in self._accepting:
            one.close()
        self._accepting = []


def _address_of(client: socket.socket) -> str:
    """Empty for one over a Unix socket."""
    with contextlib.suppress(OSError):
        return str(client.getpeername()[0]) if client.family != socket.AF_UNIX else ""
    return "it has left"
