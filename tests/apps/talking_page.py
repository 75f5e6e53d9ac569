"""A page that talks with its application: a static script, a large body each way, a WebSocket and server-sent
events.
"""

from __future__ import annotations

import asyncio

PAGE = b"""<!doctype html><title>talk</title><ul></ul><img src="/until_closed">
<script src="/files/tell.js"></script>
<script>
    tell(`loaded by ${performance.getEntriesByType("navigation")[0].nextHopProtocol}`)
    const sent = {method: "POST", body: "x".repeat(1_000_000)}
    fetch("/echo", sent).then(response => response.text()).then(text => tell(`echoed ${text.length}`))
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/chat`)
    socket.onopen = () => socket.send("from the page")
    socket.onmessage = message => { tell(message.data); socket.close(1000) }
    socket.onclose = close => {
        tell(`closed ${close.code} ${close.wasClean} ${socket.extensions}`)
        fetch("/closed")
    }
    const events = new EventSource("/events")
    events.onmessage = event => { tell(`event ${event.data}`); if (event.data == "2") events.close() }
</script>"""

closed = asyncio.Event()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise ValueError(f"no {scope['type']} here")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        text = (await receive())["text"]
        await send({"type": "websocket.send", "text": f"recorded {text} by {scope['http_version']}"})
        await receive()
        return
    if scope["path"] == "/closed":
        closed.set()
    elif scope["path"] == "/until_closed":
        await (
            closed.wait()
        )  # the page has not loaded before: the browser's own clock does not wait for a socket
    kind, pieces = b"text/html", [PAGE]
    if scope["path"] == "/echo":
        kind, pieces = b"text/plain", await read(receive)
    elif scope["path"] == "/events":
        kind, pieces = b"text/event-stream", [b"data: %d\n\n" % number for number in range(3)]
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def read(receive):
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message.get("more_body", False)
    return pieces
