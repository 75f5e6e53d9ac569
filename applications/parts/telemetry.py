"""OpenTelemetry and Sentry in Flask and FastAPI: what they send of every worker arrives, also at its end.

Both keep what is to be sent in the memory of the worker, and send it from a thread. It is lost if the end of
the worker does not wait for that.
"""

from __future__ import annotations

import re

import httpx

from applications.ingest import Ingest, ingesting
from applications.report import same
from applications.site import Site
from applications.trial import Part, Trial
from support.waiting import wait_until

ORDERS = 240
FAILURES = 60
WORKERS = ("--workers", "3")
LATER_MS = "600000"
"""No span is sent before the worker ends, but when a batch is full."""


def _opentelemetry(trial: Trial) -> None:
    for name in ("flask", "fastapi"):
        with ingesting() as ingest:
            _trace(trial, f"traced_{name}.py", name, ingest)


def _trace(trial: Trial, target: str, name: str, ingest: Ingest) -> None:
    soon = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ingest.port}",
        "OTEL_SERVICE_NAME": "checks",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    later = soon | {"OTEL_BSP_SCHEDULE_DELAY": LATER_MS, "OTEL_METRIC_EXPORT_INTERVAL": LATER_MS}
    with trial.serve(target, *WORKERS, env=soon, about=f"{name}, sent at once") as site:
        with trial.check(f"the spans of {ORDERS} requests arrive, from each worker"):
            workers = _order(site, 0)
            wait_until(lambda: _spans(ingest) == set(range(ORDERS)), "the spans")
            same(_found(rb"worker-(\d+)", ingest), workers)
    ingest.forget()
    with trial.serve(target, *WORKERS, env=later, about=f"{name}, sent at the end") as site:
        workers = _order(site, 0)
        with trial.check("nothing is sent before the workers end"):
            same(_spans(ingest), set())
        with trial.check("a reload: the former workers send their spans"):
            site.reload()
            wait_until(lambda: _spans(ingest) == set(range(ORDERS)), "the spans")
            same(_found(rb"worker-(\d+)", ingest), workers)
        _order(site, ORDERS)
    with trial.check(f"a stop: all workers have sent their spans ({name})"):
        same(_spans(ingest), set(range(2 * ORDERS)))
    if name == "flask":
        with trial.check(f"a stop: all workers have sent their metrics ({name})"):
            same(b"shop.orders" in ingest.all(), True)
    ingest.forget()
    recycled = ("--max-requests", "20")
    with trial.serve(target, *WORKERS, *recycled, env=later, about=f"{name}, recycled", reload=False) as site:
        _order(site, 0)
    with trial.check(f"workers that are replaced after 20 requests have sent their spans ({name})"):
        same(_spans(ingest), set(range(ORDERS)))


def _sentry(trial: Trial) -> None:
    for name in ("flask", "fastapi"):
        with ingesting() as ingest:
            _watch(trial, f"watched_{name}.py", name, ingest)


def _watch(trial: Trial, target: str, name: str, ingest: Ingest) -> None:
    env = {"SENTRY_DSN": f"http://key@127.0.0.1:{ingest.port}/1"}
    harmless = ("meant-to-fail", "Traceback ", "Exception on /fails")
    with trial.serve(target, *WORKERS, env=env, about=name, harmless=harmless) as site:
        with trial.check(f"the events of {FAILURES} errors arrive, from each worker"):
            statuses = site.at_once(
                lambda client, number: client.get(f"/fails/{number}").status_code, range(FAILURES)
            )
            same(set(statuses), {500})
            wait_until(lambda: _failures(ingest) == set(range(FAILURES)), "the events")
            if len(_found(rb"worker-(\d+)", ingest)) < 2:
                raise AssertionError("all came from one worker")
        with trial.check(f"the traces of {ORDERS} requests arrive"):
            _order(site, 0)
            wait_until(lambda: len(_found(rb"/order/(\d+)", ingest)) == ORDERS, "the traces")
        with trial.check("errors just before a reload arrive"):
            ingest.forget()
            site.at_once(lambda client, number: client.get(f"/fails/{number}"), range(FAILURES))
            site.reload()
            wait_until(lambda: _failures(ingest) == set(range(FAILURES)), "the events")
        ingest.forget()
    with trial.serve(
        target, *WORKERS, env=env, about=f"{name}, stopped", harmless=harmless, reload=False
    ) as site:
        site.at_once(lambda client, number: client.get(f"/fails/{number}"), range(FAILURES))
    with trial.check(f"errors just before a stop have arrived ({name})"):
        same(_failures(ingest), set(range(FAILURES)))


def _order(site: Site, first: int) -> set[int]:
    """Requests of so many orders. The pids of the workers that have served them."""

    def one(client: httpx.Client, number: int) -> int:
        return int(client.get(f"/order/{number}").text)

    return set(site.at_once(one, range(first, first + ORDERS), users=12))


def _spans(ingest: Ingest) -> set[int]:
    return _found(rb"pack-(\d+)-", ingest)


def _failures(ingest: Ingest) -> set[int]:
    return _found(rb"meant-to-fail-(\d+)-", ingest)


def _found(pattern: bytes, ingest: Ingest) -> set[int]:
    return {int(number) for number in re.findall(pattern, ingest.all())}


OPENTELEMETRY = Part(
    "opentelemetry",
    "opentelemetry-sdk, Flask, fastapi",
    "WSGI and ASGI: spans and metrics of every worker, also at its end",
    _opentelemetry,
    (
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-http",
        "opentelemetry-instrumentation-flask",
        "opentelemetry-instrumentation-fastapi",
        "Flask",
        "fastapi",
    ),
)
SENTRY = Part(
    "sentry",
    "sentry-sdk, Flask, fastapi",
    "WSGI and ASGI: errors and traces of every worker, also at its end",
    _sentry,
    ("sentry-sdk", "Flask", "fastapi"),
)
