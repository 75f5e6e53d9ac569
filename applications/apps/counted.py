"""Flask with prometheus_client in its multiprocess mode. PROMETHEUS_MULTIPROC_DIR is set."""

from __future__ import annotations

import os
import time

from flask import Flask, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

orders = Counter("orders", "Orders.", ["kind"])
took = Histogram("order_seconds", "Time of an order.", buckets=(0.001, 1, 10))
busy = Gauge("served", "Workers that have served an order.", multiprocess_mode="livesum")

application = Flask(__name__)


@application.get("/order/<int:number>")
def order(number):
    with took.time():
        time.sleep(0.005)
    orders.labels("even" if number % 2 == 0 else "odd").inc()
    busy.set(1)
    return f"{os.getpid()}"


@application.get("/metrics")
def metrics():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
