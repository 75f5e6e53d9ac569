"""FastAPI with Sentry, set up when the module is loaded, as its documentation shows it."""

from __future__ import annotations

import asyncio
import os

import sentry_sdk
from fastapi import FastAPI

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0, server_name="checks")
application = FastAPI()


@application.get("/")
async def home() -> str:
    return "home"


@application.get("/order/{number}")
async def order(number: int) -> int:
    await asyncio.sleep(0.005)
    return os.getpid()


@application.get("/fails/{number}")
async def fails(number: int) -> int:
    sentry_sdk.set_tag("served.by", f"worker-{os.getpid()}")
    await asyncio.sleep(0.005)
    raise RuntimeError(f"meant-to-fail-{number}-")
