"""Flask with Sentry, set up when the module is loaded, as its documentation shows it."""

from __future__ import annotations

import os
import time

import sentry_sdk
from flask import Flask

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0, server_name="checks")
application = Flask(__name__)


@application.get("/")
def home():
    return "home"


@application.get("/order/<int:number>")
def order(number):
    time.sleep(0.005)
    return f"{os.getpid()}"


@application.get("/fails/<int:number>")
def fails(number):
    sentry_sdk.set_tag("served.by", f"worker-{os.getpid()}")
    time.sleep(0.005)
    raise RuntimeError(f"meant-to-fail-{number}-")
