"""prometheus_client in its multiprocess mode: counts of workers add up, and a dead worker has no gauge."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from support.apps import APPS
from support.server import running
from support.waiting import wait_until

HOOK = ("--worker-died", "prometheus_client.multiprocess:mark_process_dead")


def lacks(path: Path) -> bool:
    return not path.exists()


def test_counters_add_up_and_live_gauges_go_with_their_workers(tmp_path: Path) -> None:
    arguments = (f"{APPS / 'prometheus.py'}:app", "--bind", "127.0.0.1:0", "--workers", "1", *HOOK)
    with running(*arguments, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) as server:

        def measured() -> dict[str, float]:
            lines = server.get("/metrics").decode().splitlines()
            pairs = (line.split() for line in lines if not line.startswith("#"))
            return {name: float(value) for name, value in pairs}

        for end in (signal.SIGTERM, signal.SIGKILL):
            (worker,) = server.workers()
            assert server.get("/") == b"counted"
            assert measured()["workers"] == 1
            os.kill(worker, end)
            server.wait_without({worker})
            gauges = tmp_path / f"gauge_livesum_{worker}.db"
            wait_until(partial(lacks, gauges), "its gauges to go")
        assert server.get("/") == b"counted"
        assert measured() == {"requests_total": 3, "workers": 1}
        assert server.stop() == 0
    assert "failed" not in server.log
