"""WebSockets of an ASGI application (ASGI 3, spec 2.5, the websocket scope).

Owns one conversation: what the application may do next, and what it is told. The engine speaks the protocol:
it joins frames, answers pings, closes what breaks the rules. Always: the client gets an answer and a close,
and the application hears of the end as often as it asks.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import TYPE_CHECKING

from prefork._engine import WebSocket

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application, Message, Scope
    from prefork.server.service import Service

logger = logging.getLogger("prefork.server")

HIGH_WATER_BYTES = 64 * 1024
"""With more than this on its way, `send` waits until the client has read it."""

NORMAL, VANISHED, FAILED = 1000, 1006, 1011


class Stage(enum.Enum):
    """What the application may do next."""

    ASKED = (
        "it accepts with websocket.accept, or refuses with websocket.close or websocket.http.response.start"
    )
    OPEN = "it says websocket.send or websocket.close"
    REFUSING = "it goes on with websocket.http.response.body"
    REFUSED = "nothing: it has refused the WebSocket"
    CLOSED = "nothing: it has closed the WebSocket"


def converse(
    service: Service,
    application: Application,
    options: AppOptions,
    scope: Scope,
    request: Request,
    response: Response,
) -> None:
    """Has the application talk with a client that asks for a WebSocket. `scope` is that of its request."""
    websocket = WebSocket.offered(response, options)
    if websocket is None:
        return
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = websocket.subprotocols
    scope["extensions"] = {"websocket.http.response": {}}
    context = service.context
    work = Conversation(service, websocket, response).run(application, scope, request)
    task = context.kernel.spawn(work, session=context.session, event="websocket", args=(request,))
    service.track(task, response)


class Conversation:
    """One WebSocket, as messages."""

    def __init__(self, service: Service, websocket: WebSocket, response: Response) -> None:
        self._service = service
        self._websocket = websocket
        self._response = response
        self._stage = Stage.ASKED
        self._connected = False
        self._left = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._room: asyncio.Event | None = None

    async def run(self, application: Application, scope: Scope, request: Request) -> None:
        """Calls the application, and ends what it leaves open."""
        service = self._service
        self._response.when_gone(self._client_left)
        code = FAILED
        try:
            await application(scope, self.receive, self.send)
            code = NORMAL
            if self._stage in (Stage.ASKED, Stage.REFUSING) and not self._left:
                text = f"{service.name} returned without a response to WebSocket {request.path}"
                service.context.hooks.application_error(text, request.remote_ip)
        except Exception as error:
            self._failed(request, error)
        finally:
            if self._stage is Stage.OPEN:
                self._websocket.close(code)
            else:
                service.abort(self._response)

    def _failed(self, request: Request, error: Exception) -> None:
        service, path = self._service, request.path
        if self._left or self._websocket.closed is not None:
            # Frameworks raise what they were told, and what they say then cannot be heard any more.
            logger.info("%s ended with %r after WebSocket %s was closed", service.name, error, path)
            return
        service.failed(f"WebSocket {path}", error, request)

    # --- what the application calls ----------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next message: websocket.connect, then websocket.receive, at last websocket.disconnect."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        websocket = self._websocket
        while True:
            data = websocket.receive()
            if data is not None:
                kind = "text" if type(data) is str else "bytes"
                return {"type": "websocket.receive", kind: data}
            if websocket.closed is not None:
                code, reason = websocket.closed
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
            if self._left or self._stage is Stage.REFUSED:
                return {"type": "websocket.disconnect", "code": VANISHED, "reason": ""}
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    async def send(self, message: Message) -> None:
        """Takes a message of the application.

        Raises RuntimeError for one that has no place now, ValueError for one that cannot be sent, and
        ConnectionGone (an OSError) when the client has left.
        """
        kind = message["type"]
        stage = self._stage
        if stage is Stage.OPEN and kind == "websocket.send":
            await self._say(message)
        elif stage is Stage.ASKED and kind == "websocket.accept":
            self._accept(message)
        elif stage is Stage.OPEN and kind == "websocket.close":
            self._websocket.close(message.get("code", NORMAL), message.get("reason") or "")
            self._stage = Stage.CLOSED
        elif stage is Stage.ASKED and kind == "websocket.close":
            self._stage = Stage.REFUSED
            self._refuse()
        elif stage is Stage.ASKED and kind == "websocket.http.response.start":
            self._stage = Stage.REFUSING
            self._response.code = message["status"]
            self._response.headers = [
                (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
        elif stage is Stage.REFUSING and kind == "websocket.http.response.body":
            self._refuse_with(message)
        else:
            raise RuntimeError(f"ASGI message {kind!r} has no place here; {stage.value}")

    # --- each of them ------------------------------------------------------------------------------------

    def _accept(self, message: Message) -> None:
        self._websocket.accept(self._heard, message.get("subprotocol"), message.get("headers") or ())
        self._stage = Stage.OPEN

    async def _say(self, message: Message) -> None:
        if self._websocket.send(spoken(message)) <= HIGH_WATER_BYTES:
            return
        if self._room is None:
            self._room = asyncio.Event()
            if not self._websocket.when_drained(self._has_room):
                self._has_room(False)
                return
        await self._room.wait()

    def _refuse(self) -> None:
        self._response.code = 403
        self._response.content = b""
        self._response.done()

    def _refuse_with(self, message: Message) -> None:
        body = message.get("body", b"")
        if message.get("more_body", False):
            self._response.write(body)
            return
        self._stage = Stage.REFUSED
        if self._response.streaming:
            self._response.write(body)
        else:
            self._response.content = body
        self._response.done()

    # --- what the engine calls ---------------------------------------------------------------------------

    def _heard(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _client_left(self) -> None:
        self._left = True
        self._heard()

    def _has_room(self, _: bool) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()


def spoken(message: Message) -> str | bytes:
    """What a websocket.send says. Raises TypeError if that is nothing, or text and bytes are confused."""
    text, data = message.get("text"), message.get("bytes")
    if isinstance(text, str):
        return text
    if text is None and isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    name, found = ("bytes", data) if text is None else ("text", text)
    kind = type(found).__name__
    raise TypeError(f"websocket.send: {name} is {kind}; expected str as text or bytes as bytes")
