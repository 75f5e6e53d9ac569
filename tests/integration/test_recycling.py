"""Workers that are replaced for their age or their memory: another one is ready before."""

from __future__ import annotations

import os
import re

from support.apps import APPS
from support.load import Load
from support.pool import MakePool
from support.processes import alive
from support.server import Serve, run_prefork
from support.waiting import wait_until

APP = APPS / "wsgi_recycled.py"


def test_old_workers_are_replaced_under_load_and_no_connection_is_closed(pool: MakePool) -> None:
    server = pool("--workers", "3", "--max-age", "2")
    old = set(server.wait_workers(3))
    with Load(server, 6, "/one") as load:
        wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
        load.more(100)
    assert load.lost == []
    assert load.opened == 6
    assert all(re.search(rf"worker {pid} is \d s old \(max_age\): replacing it", server.log) for pid in old)
    assert server.status()["manager"]["forked"] >= 6
    assert "ERROR" not in server.log


def test_a_worker_that_leaks_is_replaced_when_another_is_ready(serve: Serve) -> None:
    server = serve(APP, "--workers", "2", "--max-memory", "100m")
    leaking = int(server.get("/leak?150"))
    line = server.wait_log(f"worker {leaking} uses ", 60)
    assert re.search(r"uses 1\d\d MiB \(max_memory 100 MiB\): replacing it$", line)
    wait_until(lambda: not alive(leaking), "it to end")
    wait_until(lambda: server.status()["totals"]["workers"] == 2, "as many as before")


def test_of_a_pool_that_is_too_large_the_largest_worker_is_replaced(serve: Serve) -> None:
    server = serve(APP, "--workers", "2", "--max-pool-memory", "120m")
    leaking = int(server.get("/leak?150"))
    server.wait_log("(max_pool_memory 120 MiB): no more spares than min_spare are kept")
    server.wait_log(f"replacing worker {leaking}, the largest with ", 60)
    server.wait_log("MiB again (max_pool_memory 120 MiB)", 60)
    assert not alive(leaking)


def test_the_number_of_workers_is_explained(serve: Serve) -> None:
    server = serve(APP, "--max-clients", "auto", "--start", "1", "--min-spare", "1", "--max-spare", "1")
    line = server.wait_log("INFO prefork.pool: max_clients ")
    found = re.search(
        r"max_clients (\d+): \d+ for [\d.]+ CPUs \(.+\), 12 for each; \d+ for 80% of \d+ MiB", line
    )
    assert found, line
    assert server.status()["manager"]["max_clients"] == int(found[1])


def test_pressure_that_the_system_does_not_tell_is_named_in_one_line(
    serve: Serve,
) -> None:
    assert os.path.exists("/proc/pressure/memory") or serve(APP, "--memory-pressure", "5%").wait_log(
        "memory_pressure: this system does not tell it"
    )
    done = run_prefork("serve", str(APP), "--memory-pressure", "200%")
    assert done.returncode == 2
    assert "expected a percentage such as 10%" in done.stderr
