"""Says where a request comes from, as WSGI, as ASGI and over a WebSocket."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

TLV = "PROXY_PROTOCOL_TLV_"


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Pid", str(os.getpid()))])
    origin = {
        "client": environ["REMOTE_ADDR"],
        "port": int(environ.get("REMOTE_PORT", 0)),
        "scheme": environ["wsgi.url_scheme"],
        "host": environ["HTTP_HOST"],
        "server_port": environ["SERVER_PORT"],
        "prefix": environ["SCRIPT_NAME"],
        "path": environ["SCRIPT_NAME"] + environ["PATH_INFO"],
        "fields": sorted(
            name.removeprefix("HTTP_").replace("_", "-").lower() for name in environ if "FORWARDED" in name
        ),
        "told": {name.removeprefix(TLV).lower(): environ[name] for name in environ if name.startswith(TLV)},
        "request_id": environ.get("HTTP_X_REQUEST_ID", ""),
        "received": len(environ["wsgi.input"].read()),
    }
    return [json.dumps(origin).encode()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        raise ValueError(f"no {scope['type']} here")
    fields = dict(scope["headers"])
    client, port = scope["client"] or ("", 0)
    origin = {
        "client": client,
        "port": port,
        "scheme": scope["scheme"],
        "host": fields[b"host"].decode(),
        "prefix": scope["root_path"],
        "path": scope["path"],
        "fields": sorted(name.decode() for name in fields if b"forwarded" in name),
        "told": {
            name: value.decode("latin-1")
            for name, value in scope["extensions"].get("proxy_protocol", {}).items()
        },
    }
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(origin)})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-pid", b"%d" % os.getpid())]})
    await send({"type": "http.response.body", "body": json.dumps(origin).encode()})
