"""An ASGI application that calls the function of `descriptors.py` that the path names."""

from __future__ import annotations

from typing import Any

import descriptors


async def app(scope: Any, _receive: Any, send: Any) -> None:
    if function := getattr(descriptors, scope["path"].lstrip("/"), None):
        function()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
