"""Counts in the multiprocess mode of prometheus_client. `PROMETHEUS_MULTIPROC_DIR` is set."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

requests = Counter("requests", "Requests served.")
workers = Gauge("workers", "Workers that have served one.", multiprocess_mode="livesum")


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        content = generate_latest(registry)
    else:
        requests.inc()
        workers.set(1)
        content = b"counted"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", f"{len(content)}")])
    return [content]
