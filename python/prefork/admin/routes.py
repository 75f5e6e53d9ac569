"""The pages of the admin listener: each path, and what makes its response.

A page is called as `page(view, request, response)`. What it returns is the response, as with `server.handle`:
a text, bytes, a dict as JSON, a generator that is streamed, or None after it has filled or sent the response.
Always: a page changes nothing, and what came from clients or workers is escaped for the place where it is
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from prefork.admin.apache import status
from prefork.admin.health import healthz, readyz
from prefork.admin.live import events, page
from prefork.admin.metrics import metrics
from prefork.admin.status_json import status_json

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View

Page: TypeAlias = "Callable[[View, Request, Response], object]"

PAGES: Mapping[str, Page] = {
    "/": page,
    "/events": events,
    "/healthz": healthz,
    "/readyz": readyz,
    "/status.json": status_json,
    "/status": status,
    "/metrics": metrics,
}
