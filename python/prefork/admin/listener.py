"""The admin listener: the manager shows its pool over HTTP (`--admin`).

Owns: a server beside that of the pool, in the kernel of the manager. So it responds also while every worker
is stuck, and while the pool drains.

Always: it hears no signal, and ends with the pool. It changes nothing. What clients do costs a bounded amount
of memory and time, and one line of the log. No worker has its sockets. In an upgrade the new manager has them
from the moment at which it is the only one; clients that connect meanwhile wait in their queue.

It must not know what a page shows: `routes.py` lists them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prefork.admin.access import Access, Refusal, check_reach, owners_only, server_token
from prefork.admin.routes import PAGES, Page
from prefork.admin.view import View
from prefork.config.endpoints import Kind
from prefork.pool.attached import Attached
from prefork.server.handlers import Handlers
from prefork.server.server import HTTPServer

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer
    from prefork.server.sockets import ListeningSockets

logger = logging.getLogger("prefork.admin")

QUIET_S = 60.0
"""After a line about a client that is refused, so long no other one is written."""
LIMITS: dict[str, Any] = {
    "max_connections": 256,
    "max_connections_per_address": 0,
    "max_queue": 0,
    "max_head": 16 * 1024,
    "max_line": 8 * 1024,
    "max_body": 64 * 1024,
    "spool_above": 64 * 1024,
    "header_timeout": 5.0,
    "send_timeout": 10.0,
    "graceful_timeout": 1.0,
    "backlog": 128,
    "forwarded": "off",
}
"""What a client may take of the manager. Each connection costs memory and a descriptor."""
FIELDS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def open_admin(server: PreForkServer) -> Callable[[Manager], Admin]:
    """Opens the sockets, while the process may. Raises BindError and OptionError. What is returned is called
    when there is a pool, and attaches the listener to it.
    """
    admin = AdminServer(server)
    admin.open()
    return lambda _: Admin(admin)


class AdminServer(HTTPServer):
    """It shows the pool of `server`. Raises OptionError."""

    def __init__(self, server: PreForkServer) -> None:
        options = server.options
        self.view = View(server)
        listeners = {"listeners": [owners_only(one) for one in options.admin]}
        alias = f"{server.alias} admin"
        super().__init__(server.kernel, alias=alias, signals=False, headers=FIELDS, **LIMITS | listeners)
        self.socket_defaults = server.socket_defaults
        self._token = server_token(options.admin_token_file)
        names = [one.address for one in options.admin if one.kind is Kind.TCP and one.address]
        self.service = self._routed = self._pages = Pages(self.view, Access(self._token, names))

    # --- its life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the sockets. Raises BindError, and OptionError for one that needs a token and has none."""
        super()._open()
        for place in self.places:
            check_reach("admin", place, self._token)

    def _open(self) -> None:
        """Nothing: `open` was called when the process could still open every address."""

    def _begin(self) -> None:
        """Serves, or waits until this manager is the only one."""
        manager = self.view.manager
        if manager is None or manager.predecessor is None:
            super()._begin()
        else:
            manager.predecessor.when_alone(self._take_over)

    def _take_over(self) -> None:
        """The former manager has let go of the sockets."""
        if self._listener is not None:
            self._listener.lend(lent=False)
        super()._begin()

    @property
    def places(self) -> Sequence[ListeningSockets]:
        return [] if self.listening is None else self.listening.places

    def leave(self) -> None:
        """Another manager goes on with the sockets: what was begun here is finished here."""
        if self._listener is not None:
            self._listener.lend(lent=True)
        self.end()

    def end(self) -> None:
        """The pool has ended: closes the sockets, and finishes what was begun."""
        functions, self.view.at_end = self.view.at_end, []
        for function in functions:
            function()
        self._pages.end_streams()
        if self.kernel is not None:
            self.shutdown(graceful=True)

    def _run_ended(self) -> None:
        super()._run_ended()
        if self.kernel is not None:
            self.kernel.remove(self)  # the next run makes another one

    def drop(self) -> None:
        """In a child that was forked with a copy: closes the descriptors."""
        if self.kernel is not None:
            self._discard()


class Admin(Attached):
    """The listener, as what is attached to a manager."""

    def __init__(self, server: AdminServer) -> None:
        self._server = server

    def about(self) -> dict[str, object]:
        return {"admin": [place.url for place in self._server.places]}

    @property
    def places(self) -> Sequence[ListeningSockets]:
        return self._server.places

    def leave(self) -> None:
        self._server.leave()

    def close(self) -> None:
        self._server.end()

    def discard(self) -> None:
        self._server.drop()


class Pages(Handlers):
    """Gives each request that may see it to its page."""

    def __init__(self, view: View, access: Access) -> None:
        super().__init__(
            {"dir": rf"\A{re.escape(path)}\Z", "function": _bound(page, view)} for path, page in PAGES.items()
        )
        self._access = access
        self._quiet_until_s = -math.inf
        self._streams: dict[asyncio.Task[Any], Response] = {}

    def head(self, request: Request, response: Response) -> bool:
        refusal = self._access.refuse(request)
        if refusal is None:
            return super().head(request, response)
        response.code, response.content = refusal.status, refusal.text
        for name, value in refusal.fields:
            response.header(name, value)
        response.done()
        self._complain(refusal, request.remote_ip)
        return False

    def track(self, call: asyncio.Task[Any], response: Response) -> None:
        super().track(call, response)
        self._streams[call] = response
        call.add_done_callback(lambda call: self._streams.pop(call, None))

    def end_streams(self) -> None:
        """Completes the responses that are streamed: now, because the process may end in this turn."""
        for call, response in list(self._streams.items()):
            if response.owed:
                response.done()
            call.cancel()

    def client_error(self, text: str, remote_ip: str, request_id: str | None = None) -> None:  # noqa: ARG002
        """No line of the log: each live page that is closed breaks off a response, and so do scanners."""
        logger.debug("a client of the admin listener (%s): %s", remote_ip, text)

    def _complain(self, refusal: Refusal, remote_ip: str) -> None:
        if (now := self.context.kernel.loop.time()) >= self._quiet_until_s:
            self._quiet_until_s = now + QUIET_S
            logger.warning(
                "a client of the admin listener (%s) is refused: %s", remote_ip, refusal.text.strip()
            )


def _bound(page: Page, view: View) -> Callable[[Request, Response], object]:
    """The page as a handler, which the log names."""

    def handle(request: Request, response: Response) -> object:
        return page(view, request, response)

    handle.__qualname__ = page.__name__
    return handle
