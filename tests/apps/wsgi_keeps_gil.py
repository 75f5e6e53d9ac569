"""A WSGI application that keeps the interpreter from all other threads."""

from __future__ import annotations

import ctypes
import time


def application(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        time.sleep(0.05)  # until the main thread waits
        ctypes.PyDLL(None).sleep(60)
    start_response("200 OK", [])
    return []
