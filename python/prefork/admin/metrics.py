"""`/metrics`: the report as metrics, for Prometheus and what reads its formats.

Names are those of the semantic conventions of OpenTelemetry where one fits. No label comes from a client, and
the number of series does not depend on that of workers. docs/observability.md says what each one means.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefork.admin.openmetrics import (
    OPEN_METRICS,
    PLAIN,
    Family,
    Kind,
    Sample,
    accepts_open,
    histogram,
    write,
)
from prefork.admin.version import VERSION
from prefork.pool.scoreboard import LIMITED, histograms

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View

Report = Mapping[str, Any]

STATES = ("starting", "spare", "active", "draining", "stuck")
TIMES = (
    (
        "wait",
        "prefork_queue_wait_seconds",
        "Time of a request from when it could be read, or was accepted, to the call of the application.",
    ),
    (
        "application",
        "prefork_application_seconds",
        "Time from the last part of the request that the application got to the head of its response.",
    ),
    (
        "last_byte",
        "http_server_request_duration_seconds",
        "Time from the same moment to when the socket had the last byte of the response.",
    ),
)
COUNTED = (
    ("requests", "prefork_requests", "Requests that workers have begun to serve.", ""),
    ("bytes_in", "prefork_received_bytes", "Bytes received from clients.", "bytes"),
    ("bytes_out", "prefork_sent_bytes", "Bytes sent to clients.", "bytes"),
    ("handed_off", "prefork_handed_off_connections", "Connections that workers have handed to others.", ""),
    ("adopted", "prefork_adopted_connections", "Connections that workers have adopted from others.", ""),
    ("log_lost", "prefork_access_log_lost_lines", "Lines of the access log that could not be written.", ""),
)
FEATURES = (
    ("tls", "handshakes", "prefork_tls_handshakes", "TLS connections that have brought a request."),
    ("tls", "resumed", "prefork_tls_resumed_handshakes", "Of these, how many had resumed a session."),
    ("http2", "connections", "prefork_http2_connections", "Connections that have spoken HTTP/2."),
    ("http2", "streams", "prefork_http2_requests", "Requests over HTTP/2."),
)
MEASURED = (
    ("in_flight", "http_server_active_requests", "Requests that have no complete response yet."),
    ("waiting", "prefork_waiting_requests", "Clients and requests that wait for a worker."),
    ("connections", "prefork_open_connections", "Open connections of clients."),
    ("spare", "prefork_spare_workers", "Workers that could start one more request now."),
)


def metrics(view: View, request: Request, response: Response) -> str:
    """In the format that the scraper prefers."""
    report, board = view.report(), view.board
    if report is None or board is None:
        response.code = 503
        return "there is no pool yet\n"
    is_open = accepts_open(request.header("accept", ""))
    response.content_type = OPEN_METRICS if is_open else PLAIN
    return write(families(report, histograms(board)), is_open=is_open)


def families(report: Report, times: Mapping[str, list[tuple[float, int]]]) -> Iterator[Family]:
    """All metrics of a report. `times` are the buckets of `histograms`."""
    totals = report["totals"]
    yield Family("prefork_build", Kind.INFO, "The version of prefork.", [Sample(1, {"version": VERSION})])
    yield from _pool(report)
    for name, metric, meaning in MEASURED:
        yield Family(metric, Kind.GAUGE, meaning, [Sample(totals[name])])
    for name, metric, meaning, unit in COUNTED:
        yield Family(metric, Kind.COUNTER, meaning, [Sample(totals[name])], unit)
    for part, name, metric, meaning in FEATURES:
        yield Family(metric, Kind.COUNTER, meaning, [Sample(totals[part][name])])
    classes = [Sample(count, {"code": name}) for name, count in totals["classes"].items()]
    yield Family("prefork_responses", Kind.COUNTER, "Responses, by the class of their status.", classes)
    limits = [Sample(totals[name], {"limit": name.removeprefix("limited_")}) for name in LIMITED]
    yield Family(
        "prefork_limits_applied", Kind.COUNTER, "How often each limit on clients was applied.", limits
    )
    for name, metric, meaning in TIMES:
        yield histogram(metric, meaning, times[name], totals[name]["sum_s"])
    yield from _certificates(report)
    yield from _workers(report)
    yield from _manager(report)


def _pool(report: Report) -> Iterator[Family]:
    manager, totals = report["manager"], report["totals"]
    states = [Sample(totals[state], {"state": state}) for state in STATES]
    yield Family("prefork_workers", Kind.GAUGE, "Workers, by their state.", states)
    for name, metric, meaning in (
        ("min_spare", "prefork_min_spare_workers", "The option min_spare."),
        ("max_spare", "prefork_max_spare_workers", "The option max_spare."),
        ("max_clients", "prefork_max_workers", "The option max_clients."),
        ("generation", "prefork_generation", "The number of the code that new workers run."),
        ("overcommit", "prefork_overcommit", "1 while active workers accept too, because no spare is left."),
    ):
        yield Family(metric, Kind.GAUGE, meaning, [Sample(int(manager[name]))])
    for name, metric, meaning in (
        ("forked", "prefork_forked_workers", "Workers that were forked."),
        ("died", "prefork_ended_workers", "Workers that have ended, for whatever reason."),
        ("boot_failed", "prefork_failed_boots", "Workers that have ended before they were ready."),
    ):
        yield Family(metric, Kind.COUNTER, meaning, [Sample(manager[name])])
    meaning = "Share of max_clients that is active or stuck: 1 is a pool that cannot take more."
    yield Family("prefork_busy_ratio", Kind.GAUGE, meaning, [Sample(busy_ratio(report))])


def busy_ratio(report: Report) -> float:
    """How much of the pool is busy, of all that it may have: 0 to 1."""
    totals = report["totals"]
    busy, most = int(totals["active"] + totals["stuck"]), int(report["manager"]["max_clients"])
    return round(min(1.0, busy / max(most, 1)), 4)


def _certificates(report: Report) -> Iterator[Family]:
    told = report["manager"].get("certificates") or ()
    ends = {(one["file"], one["subject"]): one["ends_unix_s"] for one in told}
    if ends:
        samples = [
            Sample(end_s, {"file": file, "subject": subject}) for (file, subject), end_s in ends.items()
        ]
        meaning = "When a certificate of the server expires, in seconds of the Unix epoch."
        yield Family("prefork_certificate_end_time_seconds", Kind.GAUGE, meaning, samples, "seconds")


def _workers(report: Report) -> Iterator[Family]:
    """What the system says of the workers. Those that have ended count for their CPU time."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    workers = report["workers"]
    cpu_s = ended.ru_utime + ended.ru_stime + sum(worker["cpu_s"] or 0.0 for worker in workers)
    meaning = "CPU time of workers, and of other processes of the pool that have ended."
    yield Family("prefork_workers_cpu_seconds", Kind.COUNTER, meaning, [Sample(round(cpu_s, 3))], "seconds")
    garbled = sum(worker["is_garbled"] for worker in workers)
    meaning = "Workers that have written what cannot be true. They count for no other figure."
    yield Family("prefork_garbled_workers", Kind.GAUGE, meaning, [Sample(garbled)])
    lag_s = max((worker["lag_s"] for worker in workers if not worker["is_garbled"]), default=0.0)
    meaning = (
        "How long a loop was busy between two waits: the longest of all workers, in the last 10 to 20 s."
    )
    yield Family("prefork_loop_lag_seconds", Kind.GAUGE, meaning, [Sample(lag_s)], "seconds")
    known = [worker["rss"] for worker in workers if worker["rss"] is not None]
    if known:
        meaning = "Resident memory of all workers. What they share is counted for each."
        name = "prefork_workers_resident_memory_bytes"
        yield Family(name, Kind.GAUGE, meaning, [Sample(sum(known))], "bytes")
    shares = [worker["pss"] for worker in workers if worker["pss"] is not None]
    if shares:
        meaning = "Memory of all workers. What they share is counted once (PSS)."
        name = "prefork_workers_proportional_memory_bytes"
        size = sum(shares) * len(workers) // len(shares)  # of those that were not read yet, the mean
        yield Family(name, Kind.GAUGE, meaning, [Sample(size)], "bytes")


def _manager(report: Report) -> Iterator[Family]:
    """The manager, by the names that clients of Prometheus have for a process."""
    began_s = report["manager"]["started_unix_s"]
    meaning = "When the pool was made, in seconds of the Unix epoch."
    yield Family("process_start_time_seconds", Kind.GAUGE, meaning, [Sample(began_s)], "seconds")
    cpu_s = round(time.process_time(), 3)
    meaning = "CPU time of the manager."
    yield Family("process_cpu_seconds", Kind.COUNTER, meaning, [Sample(cpu_s)], "seconds")
    with contextlib.suppress(OSError, ValueError, IndexError):  # with --chroot there is no /proc
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        size = pages * resource.getpagesize()
        meaning = "Resident memory of the manager."
        yield Family("process_resident_memory_bytes", Kind.GAUGE, meaning, [Sample(size)], "bytes")
