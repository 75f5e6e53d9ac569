"""What happens in a second, from two reports."""

from __future__ import annotations

import pytest

from prefork.status.top.rates import Rates, WorkerRates, between
from support.reports import busy, report, worker


def test_a_rate_is_what_two_reports_differ_by() -> None:
    before = report(worker(0, requests=100, busy_s=1.0, cpu_s=2.0, bytes_out=1000))
    after = report(worker(0, requests=150, busy_s=1.5, cpu_s=2.5, bytes_out=3000, errors=4))
    rates = between(before, after, 2.0)
    assert (rates.requests, rates.errors, rates.bytes_out, rates.cpu) == (25.0, 2.0, 1000.0, 0.25)
    assert rates.of(after["workers"][0]) == WorkerRates(requests=25.0, busy=0.25, cpu=0.25)


def test_the_first_report_has_no_rates() -> None:
    assert between(None, report(worker(0)), 1.0) == Rates()
    assert between(report(), report(), 0.0) == Rates()


@pytest.mark.parametrize("new", [worker(0, pid=7), worker(0, generation=2), worker(1)])
def test_another_worker_has_no_rates_of_the_one_before(new: dict[str, object]) -> None:
    rates = between(report(worker(0)), report({**new, "requests": 1000}), 1.0)
    assert rates.of(new) == WorkerRates()


def test_a_worker_that_writes_anything_has_no_rate_below_nothing_and_no_more_time_than_there_is() -> None:
    before = report(worker(0, requests=10**18, busy_s=0.0, cpu_s=9.0))
    after = report(worker(0, requests=0, busy_s=1e12, cpu_s=None))
    rates = between(before, after, 1.0)
    assert rates.requests == 0.0
    assert rates.of(after["workers"][0]) == WorkerRates(requests=0.0, busy=1.0, cpu=0.0)


def test_a_worker_that_is_in_one_call_all_the_time_is_busy() -> None:
    before = report(busy(0), worker(1))
    for since_turn_s, share in ((5.0, 1.0), (0.5, 0.0)):
        after = report(busy(0, since_turn_s=since_turn_s), worker(1, since_turn_s=since_turn_s))
        rates = between(before, after, 1.0)
        assert [rates.of(one).busy for one in after["workers"]] == [share, 0.0]
