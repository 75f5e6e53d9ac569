"""A Starlette application whose lifespan fails."""

from __future__ import annotations

import contextlib

from starlette.applications import Starlette


@contextlib.asynccontextmanager
async def lifespan(app):
    raise ValueError("no database")
    yield


app = Starlette(lifespan=lifespan)
