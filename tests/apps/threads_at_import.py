"""A WSGI application that starts threads while it is loaded: of Python or, by the parameter, of OpenMP."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from parameters import PARAMETERS

if PARAMETERS["kind"] == "OpenMP":
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    ctypes.CDLL("libgomp.so.1").GOMP_parallel(function, None, 3, 0)
else:
    threading.Thread(target=threading.Event().wait, name="flusher", daemon=True).start()


def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
