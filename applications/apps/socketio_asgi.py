"""Socket.IO over ASGI: a room, an acknowledgement, bytes, and the ends of connections."""

from __future__ import annotations

import socketio

server = socketio.AsyncServer(async_mode="asgi")
application = socketio.ASGIApp(server)
gone = []


@server.event
async def join(sid, room):
    await server.enter_room(sid, room)
    return f"joined {room}"


@server.event
async def say(sid, room, text):
    await server.emit("said", text, room=room)
    return "said"


@server.event
async def turn(sid, data):
    return data[::-1]


@server.event
async def disconnect(sid, reason=None):
    gone.append(sid)


@server.event
async def count(sid):
    return len(gone)
