"""Flask with OpenTelemetry, set up when the module is loaded, as its documentation shows it."""

from __future__ import annotations

import os
import time

from flask import Flask
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
orders = metrics.get_meter("shop").create_counter("shop.orders")

application = Flask(__name__)
FlaskInstrumentor().instrument_app(application)


@application.get("/")
def home():
    return "home"


@application.get("/order/<int:number>")
def order(number):
    orders.add(1)
    trace.get_current_span().set_attribute("served.by", f"worker-{os.getpid()}")
    with trace.get_tracer("shop").start_as_current_span(f"pack-{number}-"):
        time.sleep(0.005)
    return f"{os.getpid()}"
