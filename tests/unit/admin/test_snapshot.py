"""What the live page shows: rates and quantiles of several reports, slots, the oldest requests, frames."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from prefork.admin.snapshot import (
    LONGEST,
    REQUESTS,
    Sampler,
    Snapshot,
    change,
    oldest,
    quantiles,
    slots,
    whole,
)
from support.reports import BOUNDS, NO_TIMES, report, request, worker


def histograms(*counts: int) -> dict[str, list[tuple[float, int]]]:
    """Those in which so many requests waited no longer than each of BOUNDS."""
    return NO_TIMES | {"wait": list(zip(BOUNDS, counts, strict=True))}


def take(*workers: dict[str, Any], **more: Any) -> Snapshot:
    return Sampler().take(report(*workers, **more), NO_TIMES)


def frame(former: Snapshot, snapshot: Snapshot) -> dict[str, Any]:
    data = change(former, snapshot)
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert data.count(b"\n") == 2
    found: dict[str, Any] = json.loads(data[6:])
    return found


# --- over time -------------------------------------------------------------------------------------------


def test_a_rate_is_that_since_the_last_report() -> None:
    sampler = Sampler()
    first = sampler.take(report(uptime_s=10.0, requests=100), NO_TIMES)
    classes = {"1xx": 0, "2xx": 40, "3xx": 0, "4xx": 8, "5xx": 4}
    second = sampler.take(report(uptime_s=12.0, requests=150, handed_off=3, classes=classes), NO_TIMES)
    assert first.values["request_rate"] is None
    assert [second.values[name] for name in ("request_rate", "rate_4xx", "rate_5xx")] == [25, 4, 2]
    assert second.values["handed_off_rate"] == 1.5


def test_there_is_no_rate_after_a_gap() -> None:
    sampler = Sampler()
    sampler.take(report(uptime_s=10.0), NO_TIMES)
    assert sampler.take(report(uptime_s=3600.0, requests=10_000), NO_TIMES).values["request_rate"] is None


def test_a_count_that_goes_backwards_is_no_rate() -> None:
    sampler = Sampler()
    sampler.take(report(uptime_s=10.0, requests=100), NO_TIMES)
    assert sampler.take(report(uptime_s=11.0, requests=1), NO_TIMES).values["request_rate"] == 0


def test_quantiles_are_those_of_the_last_seconds() -> None:
    sampler = Sampler()
    sampler.take(report(uptime_s=10.0), histograms(1000, 1000, 1000, 1000))  # long ago: not among them
    slow = sampler.take(report(uptime_s=11.0), histograms(1000, 1000, 1100, 1100))
    assert slow.values["wait_p50"] == 55  # in the middle of 10 to 100 ms
    assert slow.values["wait_p99"] == 99.1
    assert slow.values["application_p50"] is None
    for second in range(12, 20):
        later = sampler.take(report(uptime_s=float(second)), histograms(1000, 1000, 1100, 1100))
    assert later.values["wait_p50"] is None


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0, 0, 0), [None, None]),
        ((10, 10, 10, 10), [0.0005, pytest.approx(0.0009)]),
        ((0, 0, 0, 10), [pytest.approx(0.15), pytest.approx(0.19)]),  # twice the last bound is assumed
        ((5, 10, 10, 10), [0.001, pytest.approx(0.0082)]),
        ((10, 4, 0, -3), [None, None]),  # a worker has written garbage
    ],
)
def test_a_quantile_lies_in_its_bucket(counts: tuple[int, ...], expected: list[float | None]) -> None:
    now = list(zip(BOUNDS, counts, strict=True))
    assert quantiles(now, NO_TIMES["wait"], (0.5, 0.9)) == expected


def test_histograms_of_another_form_have_no_quantiles() -> None:
    assert quantiles(NO_TIMES["wait"], (), (0.5,)) == [None]
    assert quantiles([(0.1, 1), (math.inf, 2)], NO_TIMES["wait"], (0.5,)) == [None]


# --- workers and requests --------------------------------------------------------------------------------


def test_a_slot_is_one_character() -> None:
    workers = [
        worker(0),
        worker(1, in_flight=3),
        worker(2, in_flight=64),
        worker(4, "active"),
        worker(5, "starting"),
        worker(6, "draining"),
        worker(7, "stuck"),
        worker(9, is_garbled=True),
    ]
    assert slots(workers) == "038.9*~!.?"
    assert slots([]) == ""


def test_the_oldest_requests_are_shown() -> None:
    workers = [worker(slot, request=request(age_s=slot)) for slot in range(REQUESTS + 10)]
    found = oldest([*workers, worker(99)])
    assert [one.slot for one in found] == list(range(REQUESTS + 9, 9, -1))


def test_what_a_client_wrote_is_one_line_of_bounded_length() -> None:
    (one,) = oldest([worker(0, request=request("/\x1b[31m\n\u202e" + "x" * 500))])
    assert len(one.path) == LONGEST
    assert one.path.startswith("/\\x1b[31m\\n\\u202exxx")


def test_a_path_may_be_hidden() -> None:
    (one,) = oldest([worker(0, request=request(None, client=None))])
    assert (one.path, one.client) == ("", "")


# --- frames ----------------------------------------------------------------------------------------------


def test_a_whole_snapshot_has_all() -> None:
    snapshot = take(worker(0, request=request("/x")), worker(3, "active", generation=2))
    found = json.loads(whole(snapshot, [snapshot.row])[6:])
    assert dict(zip(found["columns"], found["past"][0], strict=True))["active"] == 1
    assert found["who"] == [[0, 100, 1], [3, 103, 2]]
    assert found["requests"] == [[0, "GET", "/x", "10.0.0.9", "handling", 0.25]]
    assert found["slots"] == "0..9"
    assert found["facts"]["max_clients"] == 8


def test_a_frame_has_what_has_changed() -> None:
    former = take(worker(0), worker(1))
    found = frame(former, take(worker(0), worker(1, "active", pid=77), uptime_s=101.0, requests=5))
    assert found["slots"] == "09"
    assert found["who"] == [[1, 77, 1]]
    assert found["facts"] == {"requests": 5}
    assert found.keys() == {"row", "slots", "who", "facts", "requests"}


def test_what_has_not_changed_is_in_no_frame() -> None:
    former, snapshot = take(worker(0)), take(worker(0), uptime_s=101.0)
    assert frame(former, snapshot).keys() == {"row", "slots", "requests"}


def test_the_last_worker_may_go() -> None:
    assert frame(take(worker(0)), take())["slots"] == ""


def test_decisions_are_sent_if_one_is_new() -> None:
    def decided(uptime_s: float, *ages: float) -> Snapshot:
        decisions = [{"age_s": age, "change": 0, "why": "max_clients is reached"} for age in ages]
        return take(uptime_s=uptime_s, decisions=decisions)

    former = decided(100.0, 5.0, 3.0)
    assert "decisions" not in frame(former, decided(101.0, 6.04, 3.96))  # read a little later
    again = frame(former, decided(101.0, 6.0, 0.5))  # the same decision has taken the place of the last one
    assert again["decisions"] == [[95.0, 0, "max_clients is reached"], [100.5, 0, "max_clients is reached"]]
    assert len(frame(former, decided(101.0, 6.0, 4.0, 0.5))["decisions"]) == 3


def test_a_frame_of_a_large_busy_pool_is_small() -> None:
    """Plain, and with a request in each line of the table that began since the last frame."""
    paths = [f"/shop/product/{number}/reviews?page=2" for number in range(256)]

    def busy(uptime_s: float) -> Snapshot:
        active = [worker(n, "active", request=request(paths[n], 0.01)) for n in range(128)]
        spare = [worker(n) for n in range(128, 256)]
        return take(
            *active, *spare, uptime_s=uptime_s, requests=int(uptime_s * 5000), bytes_in=int(uptime_s * 1e6)
        )

    assert len(change(busy(100.0), busy(101.0))) < 2100
