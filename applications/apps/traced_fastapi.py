"""FastAPI with OpenTelemetry, set up when the module is loaded, as its documentation shows it."""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

application = FastAPI()
FastAPIInstrumentor.instrument_app(application)


@application.get("/")
async def home() -> str:
    return "home"


@application.get("/order/{number}")
async def order(number: int) -> int:
    trace.get_current_span().set_attribute("served.by", f"worker-{os.getpid()}")
    with trace.get_tracer("shop").start_as_current_span(f"pack-{number}-"):
        await asyncio.sleep(0.005)
    return os.getpid()
