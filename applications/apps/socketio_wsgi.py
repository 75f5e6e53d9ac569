"""The same as socketio_asgi.py over WSGI, in the threading mode."""

from __future__ import annotations

import socketio

server = socketio.Server(async_mode="threading")
gone = []


def page(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


application = socketio.WSGIApp(server, page)


@server.event
def join(sid, room):
    server.enter_room(sid, room)
    return f"joined {room}"


@server.event
def say(sid, room, text):
    server.emit("said", text, room=room)
    return "said"


@server.event
def turn(sid, data):
    return data[::-1]


@server.event
def disconnect(sid, reason=None):
    gone.append(sid)


@server.event
def count(sid):
    return len(gone)
