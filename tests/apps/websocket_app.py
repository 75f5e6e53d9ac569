"""An ASGI application whose paths are ways to treat a WebSocket; standard error shows how each one ended."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}

go_on = asyncio.Event()


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise ValueError(f"no {scope['type']} here")
    name = scope["path"].strip("/")
    if scope["type"] == "http":
        if name == "go":
            go_on.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        await send({"type": "http.response.body", "body": str(pages * os.sysconf("SC_PAGE_SIZE")).encode()})
        return
    await globals()[name](scope, receive, send)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def accept(receive: Receive, send: Send, **fields: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send(ACCEPT | fields)


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    offered = scope["subprotocols"]
    await accept(receive, send, subprotocol=offered[-1] if offered else None)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    tell(f"ended {message['code']} {message['reason']!r}")


async def shaped(scope: Message, receive: Receive, send: Send) -> None:
    """Header fields as all that ASGI allows."""
    await accept(receive, send, headers=iter([[b"x-one", b"1"], (bytearray(b"x-two"), memoryview(b"2"))]))


async def confuse(scope: Message, receive: Receive, send: Send) -> None:
    """Sends what is bytes, and then what cannot be said."""
    await accept(receive, send)
    for data in (bytearray(b"one"), memoryview(b"two")):
        await send({"type": "websocket.send", "bytes": data})
    for wrong in ({"text": b"three"}, {"bytes": "four"}, {"text": 5}, {}):
        try:
            await send({"type": "websocket.send", **wrong})
        except TypeError as error:
            await send({"type": "websocket.send", "text": str(error)})


async def alive(scope: Message, receive: Receive, send: Send) -> None:
    """Counts the objects of conversations that are left without a collection."""
    gc.disable()
    await accept(receive, send)
    left = sum(type(found).__name__ == "WebSocketExchange" for found in gc.get_objects())
    await send({"type": "websocket.send", "text": str(left)})
    await receive()


async def listen(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    recorded = []
    while (message := await receive())["type"] == "websocket.receive":
        recorded.append(message["text"])
        await asyncio.sleep(0)
    tell(f"recorded {recorded}, then {message['code']} {message['reason']!r}")


async def scoped(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send, headers=[(b"x-seen", scope["path"].encode())])
    seen = {name: scope[name] for name in ("type", "scheme", "http_version", "subprotocols", "extensions")}
    await send({"type": "websocket.send", "text": repr(seen | {"has_method": "method" in scope})})
    await send(CLOSE | {"code": 4000, "reason": "seen"})
    tell(f"then {await receive()}")


async def refuse(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send(CLOSE)
    tell(f"refused, then {await receive()}")


async def refuse_with(scope: Message, receive: Receive, send: Send) -> None:
    headers = ([b"x-why", bytearray(b"not you")],)
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"short ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"and stout"})


async def fail_first(scope: Message, receive: Receive, send: Send) -> None:
    raise ValueError("before it was accepted")


async def fail_later(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await receive()
    raise ValueError("after it was accepted")


async def forget(scope: Message, receive: Receive, send: Send) -> None:
    pass


async def leave(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)


async def choose_another(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send, subprotocol="not offered")


async def speak_first(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.send", "text": "hello?"})


async def accept_twice(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send(ACCEPT)


async def close_wrongly(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send(CLOSE | {"code": 1005})


async def send_nothing(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send({"type": "websocket.send"})


async def hesitate(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    tell(f"then {await receive()}")


async def pour(scope: Message, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    for number in range(1000):
        await send({"type": "websocket.send", "bytes": number.to_bytes(4, "big") * 16384})


async def sleep(scope: Message, receive: Receive, send: Send) -> None:
    """Reads nothing at first, and everything after a request for it."""
    await accept(receive, send)
    tell("asleep")
    await go_on.wait()
    count = size = 0
    while (message := await receive())["type"] == "websocket.receive":
        count, size = count + 1, size + len(message["bytes"])
    tell(f"read {count} messages of {size} bytes, then {message['code']}")


async def talk_on(scope: Message, receive: Receive, send: Send) -> None:
    """Sends after the client has left."""
    await accept(receive, send)
    while (await receive())["type"] == "websocket.receive":
        pass
    try:
        await send({"type": "websocket.send", "text": "still there?"})
    except OSError as error:
        tell(f"send: {error}")
    raise asyncio.CancelledError
