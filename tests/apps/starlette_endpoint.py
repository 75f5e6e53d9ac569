"""A Starlette endpoint that is the whole application."""

from __future__ import annotations

from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse


class Page(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse(request.url.path)


app = Page
