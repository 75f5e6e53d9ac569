"""prometheus_client in its multiprocess mode: the figures of all workers, and of those that have died."""

from __future__ import annotations

import os
import signal

import httpx

from applications.report import same
from applications.site import Site
from applications.trial import Part, Trial
from support.waiting import wait_until

HOOK = ("--worker-died", "prometheus_client.multiprocess:mark_process_dead")
ORDERS = 300


def _run(trial: Trial) -> None:
    files = trial.place / "figures"
    files.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(files)}
    with trial.serve("counted.py", "--workers", "3", *HOOK, env=env) as site:
        site.home = "/metrics"
        workers = _order(site)
        with trial.check("whichever worker is asked, the counts of all workers add up"):
            for _ in range(20):
                with site.new_client() as client:
                    found = _figures(client.get("/metrics").text)
                same(found['orders_total{kind="even"}'] + found['orders_total{kind="odd"}'], ORDERS)
                same(found["order_seconds_count"], ORDERS)
                same(found["served"], len(workers))
        with trial.check("a worker that is killed leaves its counts, and no gauge"):
            os.kill(min(workers), signal.SIGKILL)
            wait_until(
                lambda: _figures(site.get("/metrics").text)["served"] == len(workers) - 1, "one gauge less"
            )
            same(_figures(site.get("/metrics").text)["order_seconds_count"], ORDERS)
            same(list(files.glob(f"gauge_live*_{min(workers)}.db")), [])
            site.forget_errors()
        with trial.check("after a reload the counts go on, and no gauge of a former worker is left"):
            site.reload()
            found = _figures(site.get("/metrics").text)
            same((found["order_seconds_count"], found.get("served", 0)), (ORDERS, 0))
            again = _order(site)
            found = _figures(site.get("/metrics").text)
            same((found["order_seconds_count"], found["served"]), (2 * ORDERS, len(again)))


def _order(site: Site) -> set[int]:
    def one(client: httpx.Client, number: int) -> int:
        return int(client.get(f"/order/{number}").text)

    return set(site.at_once(one, range(ORDERS), users=12))


def _figures(text: str) -> dict[str, float]:
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


PROMETHEUS = Part(
    "prometheus",
    "prometheus_client, Flask",
    "WSGI: figures of all workers in its multiprocess mode, `--worker-died`",
    _run,
)
