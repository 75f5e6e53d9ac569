"""WebSockets of WSGI applications: Flask-Sock, and python-socketio in its threading mode."""

from __future__ import annotations

import socketio  # type: ignore[import-untyped]
from flask import Flask
from flask_sock import Sock  # type: ignore[import-untyped]

flask = Flask(__name__)
sock = Sock(flask)
server = socketio.Server(async_mode="threading")


@flask.get("/")
def index() -> str:
    return "index"


@sock.route("/echo")
def echo(websocket):
    while True:
        websocket.send("echo " + websocket.receive())


@sock.route("/once")
def once(websocket):
    websocket.send("got " + websocket.receive())


@server.on("hello")
def hello(sid, name):
    server.emit("reply", f"hi {name}", to=sid)


app = socketio.WSGIApp(server, flask)
