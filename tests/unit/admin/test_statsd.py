from __future__ import annotations

import math

import pytest

from prefork.admin.statsd import DATAGRAM_BYTES, Figures, new_in, packed, sampled

NONE = [(0.001, 0), (0.002, 0), (0.004, 0), (math.inf, 0)]


def test_only_what_is_new_is_sent() -> None:
    totals = {"requests": 10, "statuses": {"200": 9, "503": 1}}
    first = Figures.of(totals, NONE)
    assert list(first.since(Figures({}, []))) == [
        "gunicorn.requests:10|c|@1.0",
        "gunicorn.request.status.200:9|c|@1.0",
        "gunicorn.request.status.503:1|c|@1.0",
    ]
    assert list(first.since(first)) == []
    then = Figures.of(
        {"requests": 12, "statuses": {"200": 11, "503": 1}},
        [(0.001, 0), (0.002, 2), (0.004, 2), (math.inf, 2)],
    )
    assert list(then.since(first)) == [
        "gunicorn.requests:2|c|@1.0",
        "gunicorn.request.status.200:2|c|@1.0",
        "gunicorn.request.duration:1.500|ms|@1",
        "gunicorn.request.duration:1.500|ms|@1",
    ]


def test_a_count_that_a_worker_has_spoiled_is_not_sent() -> None:
    before = Figures.of({"requests": 10, "statuses": {}}, [(0.001, 5), (math.inf, 5)])
    after = Figures.of({"requests": 3, "statuses": {}}, [(0.001, 2), (math.inf, 2)])
    assert list(after.since(before)) == []


@pytest.mark.parametrize(
    ("now", "before", "new"),
    [
        (NONE, [], []),
        ([(0.001, 1), (0.002, 3), (0.004, 3), (math.inf, 4)], NONE, [(0.5, 1), (1.5, 2), (4.0, 1)]),
        ([(0.001, 4), (0.002, 6), (math.inf, 6)], [(0.001, 4), (0.002, 5), (math.inf, 5)], [(1.5, 1)]),
    ],
)
def test_what_each_bucket_has_got_since(
    now: list[tuple[float, int]], before: list[tuple[float, int]], new: list[tuple[float, int]]
) -> None:
    found = new_in(now, before)
    assert [count for _, count in found] == [count for _, count in new]
    assert [middle for middle, _ in found] == pytest.approx([middle for middle, _ in new])


@pytest.mark.parametrize("counts", [[1], [3, 5], [100, 100], [1, 999], [7, 100_000, 1, 33], [10**9]])
def test_each_duration_that_is_sent_stands_for_as_many_as_there_were(counts: list[int]) -> None:
    sent = list(sampled([(float(index), count) for index, count in enumerate(counts)]))
    assert len(sent) <= 200 + len(counts)
    for index, count in enumerate(counts):
        weights = [1 / rate for value, rate in sent if value == index]
        assert sum(weights) == pytest.approx(count)


def test_datagrams_hold_whole_lines_and_fit_into_packets() -> None:
    lines = [f"gunicorn.request.duration:{number}.5|ms|@1" for number in range(200)]
    datagrams = list(packed(lines))
    assert all(len(datagram) <= DATAGRAM_BYTES for datagram in datagrams)
    assert b"\n".join(datagrams).decode().split("\n") == lines
    assert len(datagrams) < 8
    assert list(packed([])) == []
