"""`/metrics`: which there are, of what, and that each is explained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

import prefork
from prefork.admin.metrics import families
from prefork.admin.openmetrics import write
from support import reports
from support.reports import report

PAGE = Path(prefork.__file__).parents[2] / "docs" / "observability.md"
TIMES = {name: [(0.001, 2), (math.inf, 3)] for name in ("wait", "application", "last_byte")}
FIGURES: dict[str, Any] = {
    **{name: {"count": 3, "sum_s": 0.5} for name in TIMES},
    "tls": {"handshakes": 4, "resumed": 1},
    "http2": {"connections": 2, "streams": 20},
    "classes": {"1xx": 0, "2xx": 7, "3xx": 0, "4xx": 1, "5xx": 2},
}


def pool(*workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = report(*workers, **FIGURES, **more)
    found["manager"]["started_unix_s"] = 1_700_000_000
    return found


def worker(slot: int, state: str = "spare", **changes: Any) -> dict[str, Any]:
    """One of which the system tells."""
    return reports.worker(slot, state, **({"cpu_s": 0.25, "rss": 1000, "lag_s": 0.0} | changes))


def read(found: dict[str, Any]) -> dict[str, Any]:
    """Each sample's value, by its name and the values of its labels."""
    text = write(families(found, TIMES), is_open=True)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_the_pool_and_its_workers() -> None:
    found = read(
        pool(worker(0), worker(1, "active", lag_s=0.2), worker(2, "stuck"), worker(3, "starting"), requests=9)
    )
    assert [found[f"prefork_workers {state}"] for state in ("spare", "active", "stuck", "starting")] == [
        1
    ] * 4
    assert found["prefork_spare_workers"] == 1
    assert found["prefork_busy_ratio"] == 2 / 8
    assert found["prefork_requests_total"] == 9
    assert found["prefork_responses_total 5xx"] == 2
    assert found["prefork_loop_lag_seconds"] == 0.2
    assert found["prefork_workers_resident_memory_bytes"] == 4000
    assert found["prefork_workers_cpu_seconds_total"] >= 1.0
    assert found["prefork_tls_resumed_handshakes_total"] == 1
    assert found["prefork_http2_requests_total"] == 20
    assert found["process_start_time_seconds"] == 1_700_000_000


@pytest.mark.parametrize(
    "name",
    ["prefork_queue_wait_seconds", "prefork_application_seconds", "http_server_request_duration_seconds"],
)
def test_the_times(name: str) -> None:
    found = read(pool(worker(0)))
    assert found[f"{name}_bucket 0.001"] == 2
    assert found[f"{name}_bucket +Inf"] == found[f"{name}_count"] == 3
    assert found[f"{name}_sum"] == 0.5


def test_when_certificates_expire() -> None:
    found = pool(worker(0))
    ends = {"subject": "CN=a", "ends_unix_s": 1_800_000_000}
    found["manager"]["certificates"] = [{"file": "a.pem", **ends}, {"file": "b.pem", **ends}]
    told = read(found)
    assert told["prefork_certificate_end_time_seconds a.pem CN=a"] == 1_800_000_000
    assert told["prefork_certificate_end_time_seconds b.pem CN=a"] == 1_800_000_000


def test_what_a_garbled_worker_has_written_is_no_figure() -> None:
    found = read(pool(worker(0), worker(1, is_garbled=True, lag_s=1e300)))
    assert found["prefork_loop_lag_seconds"] == 0
    assert found["prefork_garbled_workers"] == 1


def test_of_workers_whose_memory_was_not_read_yet_the_mean_is_taken() -> None:
    found = read(pool(worker(0, pss=100), worker(1), worker(2, pss=300)))
    assert found["prefork_workers_proportional_memory_bytes"] == 600


def test_what_the_system_does_not_tell_is_left_out() -> None:
    found = read(pool(worker(0, rss=None, cpu_s=None)))
    assert "prefork_workers_resident_memory_bytes" not in found
    assert "prefork_workers_proportional_memory_bytes" not in found
    assert found["prefork_workers_cpu_seconds_total"] >= 0
    assert read(pool())["prefork_loop_lag_seconds"] == 0


def test_the_number_of_series_does_not_grow_with_the_pool() -> None:
    assert read(pool(worker(0))).keys() == read(pool(*map(worker, range(100)))).keys()


@pytest.mark.skipif(not PAGE.exists(), reason="installed without its documents")
def test_each_is_explained() -> None:
    page = PAGE.read_text()
    names = {name.split()[0] for name in read(pool(worker(0)))}
    names = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in names}
    assert sorted(name for name in names if f"`{name}" not in page and not name.startswith("process_")) == []
