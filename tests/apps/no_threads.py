"""No thread can be started while the file `none` is in the directory of the parameter."""

from __future__ import annotations

import os
import threading

from parameters import PARAMETERS

start = threading.Thread.start


def start_one(thread):
    if os.path.exists(f"{PARAMETERS['directory']}/none"):
        raise RuntimeError("can't start new thread")
    start(thread)


threading.Thread.start = start_one  # type: ignore[method-assign]


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]
