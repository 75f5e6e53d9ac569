"""WebSockets of an ASGI application (ASGI 3, spec 2.5, the websocket scope).

Owns what follows from one call of the application: an open WebSocket is closed, a refused one gets a
response, and a failure is a line in the log. The messages of a call are the engine's (`WebSocketExchange`).
It must not know sockets or frames.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefork._engine import WebSocketExchange
from prefork.hosting.disconnects import comes_of_disconnect
from prefork.logs.logger import concerning

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application, Scope
    from prefork.server.service import Service

logger = logging.getLogger("prefork.server")

NORMAL, FAILED = 1000, 1011
"""Close codes (RFC 6455, section 7.4.1)."""


def converse(
    service: Service,
    application: Application,
    options: AppOptions,
    scope: Scope,
    request: Request,
    response: Response,
) -> None:
    """Calls the application for a client that requests a WebSocket. `scope` is that of its request."""
    context = service.context
    exchange = WebSocketExchange.offered(response, options, context.kernel.loop.create_future)
    if exchange is None:
        return
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = exchange.subprotocols
    extensions = scope["extensions"].items()
    of_connection = {name: told for name, told in extensions if not name.startswith("http.")}
    scope["extensions"] = {"websocket.http.response": {}, **of_connection}
    work = run(service, application, scope, exchange, request, response)
    task = context.kernel.spawn(work, session=context.session, event="websocket", args=(request,))
    service.track(task, response)


async def run(
    service: Service,
    application: Application,
    scope: Scope,
    exchange: WebSocketExchange,
    request: Request,
    response: Response,
) -> None:
    """Calls the application, and ends what it leaves open. First the client gets its end, then the log."""
    failure: BaseException | None = None
    try:
        await application(scope, exchange.receive, exchange.send)
    except BaseException as error:  # SystemExit too: one conversation must not end the process
        failure = error
    is_gone, is_answered = exchange.gone, response.answered
    if exchange.open:
        exchange.close(NORMAL if failure is None else FAILED)
    else:
        service.abort(response)
    if failure is None:
        if not is_answered and not is_gone:
            text = f"{service.name} returned without a response to WebSocket {request.path}"
            if exchange.refused is not None:
                text = f"{text}: {exchange.refused}"
            service.context.hooks.application_error(text, request.remote_ip, about=concerning(request))
    elif is_gone and comes_of_disconnect(failure):
        about = concerning(request)
        logger.debug("WebSocket %s: the client left: %r", request.path, failure, extra=about)
    else:
        service.failed(f"WebSocket {request.path}", failure, request)
