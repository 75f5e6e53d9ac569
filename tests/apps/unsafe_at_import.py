"""An application that opens at import what workers must not share."""

from __future__ import annotations

import asyncio
import os
import socket

ends = socket.socketpair()
loop = asyncio.new_event_loop()
file = os.fdopen(os.open("/tmp", os.O_TMPFILE | os.O_RDWR), "rb")


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
