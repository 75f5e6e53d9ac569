"""A WSGI application that starts threads while it is loaded: of Python or, by the parameter, of OpenMP.

With the parameter `logging` the thread logs all the time, as do the requests, to a file that takes a moment
for each line.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from parameters import PARAMETERS

log = logging.getLogger("app")
log.setLevel("INFO")
log.propagate = False
pid = os.getpid()


class Disk(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if os.getpid() == pid:
            time.sleep(0.01)
        return len(data)


def wait() -> None:
    threading.Event().wait()


def log_always() -> None:
    while True:
        log.info("from the thread")
        time.sleep(0.003)


if PARAMETERS["kind"] == "OpenMP":
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    ctypes.CDLL("libgomp.so.1").GOMP_parallel(function, None, 3, 0)
elif PARAMETERS["kind"] == "logging":
    log.addHandler(logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(Disk()))))
    threading.Thread(target=log_always, daemon=True).start()
else:
    threading.Thread(target=wait, name="flusher", daemon=True).start()


def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    log.info("from a request")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
