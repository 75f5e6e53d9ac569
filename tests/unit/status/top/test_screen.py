"""Frames of `prefork top`, for terminals and pools of any size."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prefork.status import table
from prefork.status.top.quantiles import Quantiles
from prefork.status.top.rates import Rates, between
from prefork.status.top.screen import frame
from prefork.status.top.view import SORTS, View
from support.reports import busy, report, request, times, worker

DECISIONS = [
    {"age_s": 60.0, "change": 4, "why": "the pool begins: start_servers 4"},
    {"age_s": 12.0, "change": 1, "why": "1 spare of 5 missing"},
    {"age_s": 3.0, "change": -1, "why": "3 spares above the maximum of 10"},
    {"age_s": 1.0, "change": 0, "why": "memory is short: no more than 5 spares"},
]


def pool(count: int) -> dict[str, Any]:
    """Every third worker has a request."""
    workers = [
        busy(slot, f"/page/{slot}", slot / 10) if slot % 3 == 1 else worker(slot) for slot in range(count)
    ]
    quantiles = {"wait": times(0.0001, 0.0003, 0.0012), "application": times(0.012, 0.034, 0.09)}
    return report(*workers, **quantiles, decisions=DECISIONS)


def shown(
    found: dict[str, Any],
    view: View | None = None,
    size: tuple[int, int] = (80, 24),
    rates: Rates | None = None,
    **changes: Any,
) -> list[str]:
    lines = frame(found, rates or Rates(), view or View(), size, **changes)
    assert len(lines) == size[1]
    assert all(line.cell_len <= size[0] for line in lines)
    return [line.plain for line in lines]


def test_a_terminal_of_80_by_24_has_the_pool_its_workers_requests_and_keys() -> None:
    lines = shown(pool(8), clock="12:00:00")
    assert lines[0].startswith("pool site  manager 100  up 1h05m  generation 1")
    assert lines[0].endswith(" 12:00:00")
    assert lines[1] == "o#oo#oo#"
    assert lines[2] == "o 5 spare  # 3 active  of 8 workers, max 8, spares 1 to 3"
    assert lines[3].startswith("0.0 requests/s  0.0 errors/s  0.00 CPU  0 waiting  3 in flight")
    assert lines[4] == "p50/p99: wait 100us/1.20ms  application 12.0ms/90.0ms  last byte -/-"
    text = "\n".join(lines)
    assert "1s ago    0  memory is short" in text
    assert "     PID    STATE    AGE   REQUESTS  BUSY   CPU     MEMORY  REQUEST" in text
    assert "GET /page/1 for 0.1s" in text
    assert "REQUESTS IN FLIGHT" in text
    assert lines[-1] == "q quit  p pause  s stack  ? help  sorted by slot"


def test_quantiles_of_the_last_seconds_are_shown_where_they_are_known() -> None:
    known = Quantiles(10.0, {"wait": (0.1, 0.2, 0.3), "application": (None, None, None)})
    lines = [line.plain for line in frame(pool(3), Rates(), View(), (120, 30), quantiles=known)]
    assert lines[4] == "p50/p90/p99 in 10s: wait 100ms/200ms/300ms  application -/-/-"


@pytest.mark.parametrize("count", [0, 1, 3, 80, 1000])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 10), (20, 5), (1, 1), (3, 2)])
def test_every_size_of_pool_and_terminal_has_a_frame(count: int, size: tuple[int, int]) -> None:
    lines = shown(pool(count), View(selected=50), size, note="the manager 100 is stopped")
    if size[0] >= 40:
        assert lines[-1].startswith("q quit")
    for page in ([], ["one"], [f"line {number}" for number in range(500)]):
        shown(pool(count), View(page=page), size)


def test_a_thousand_workers_are_a_bar_in_which_a_stuck_one_is_seen() -> None:
    workers = [worker(slot) for slot in range(998)] + [worker(998, state="stuck"), busy(999)]
    lines = shown(report(*workers))
    assert lines[1] == "o" * 78 + "#!"
    assert "1 stuck" in lines[2]


def test_the_selected_worker_is_in_sight_and_marked() -> None:
    lines = frame(pool(300), Rates(), View(selected=390), (80, 24))
    (row,) = [line for line in lines if line.plain.startswith("     390")]
    assert row.style == "reverse"
    assert re.search(r"sorted by slot, (\d+) to (\d+) of 300$", lines[-1].plain)


@pytest.mark.parametrize(("sort", "first"), [
    ("slot", 100), ("age", 101), ("requests", 102), ("memory", 103), ("busy", 104), ("cpu", 105),
])  # fmt: skip
def test_workers_are_sorted_with_the_largest_first(sort: str, first: int) -> None:
    before = report(*(worker(slot, cpu_s=0.0) for slot in range(6)))
    after = report(
        worker(0, cpu_s=0.0),
        worker(1, cpu_s=0.0, age_s=900.0),
        worker(2, cpu_s=0.0, requests=5),
        worker(3, cpu_s=0.0, rss=1 << 30),
        worker(4, cpu_s=0.0, busy_s=0.5),
        worker(5, cpu_s=1.0),
    )
    view, rates = View(sort=sort), between(before, after, 1.0)
    shown(after, view, rates=rates)
    assert view.order[0] == first
    reversed_view = View(sort=sort, reverse=True)
    shown(after, reversed_view, rates=rates)
    assert reversed_view.order[0] != first


def test_requests_are_the_oldest_first_with_client_and_phase() -> None:
    workers = [busy(slot, f"/{slot}", float(slot)) for slot in range(30)]
    text = shown(report(*workers), size=(100, 40))
    heading = next(number for number, line in enumerate(text) if "REQUESTS IN FLIGHT" in line)
    assert "of 30)" in text[heading]
    assert text[heading + 1].split() == ["29s", "129", "10.0.0.9", "handling", "GET", "/29"]


def test_a_request_without_path_client_or_phase_is_shown() -> None:
    hidden = worker(0, state="active", in_flight=1, request=request(None, client=None, phase=None))
    text = "\n".join(shown(report(hidden)))
    assert "GET for 0.25s" in text


EVIL = "\x1b]0;owned\x07\x1b[2J\n\r\x9b31m\u202eabc\x00[red]/x[/]"


def test_no_text_of_a_client_controls_the_terminal() -> None:
    evil = worker(0, state="active", in_flight=1, request=request(EVIL, client=EVIL, phase=EVIL, method=EVIL))
    found = report(evil, glue=EVIL, decisions=[{"age_s": 1.0, "change": 1, "why": EVIL}])
    for view in (View(), View(page=[EVIL])):
        text = shown(found, view, (300, 40), note=EVIL)
        assert all(line.isprintable() for line in text)
        assert any("\\x1b]0;owned" in line for line in text)
        assert any("[red]/x[/]" in line for line in text)


def test_what_is_wrong_is_said_above_all() -> None:
    lines = shown(pool(3), note="the manager 100 is stopped: this is what its workers write")
    assert lines[1].startswith("the manager 100 is stopped")
    assert shown(pool(3), View(paused=True), clock="12:00:00")[0].endswith("PAUSED 12:00:00")
    assert "OVERCOMMIT" in shown(report(overcommit=True))[2]


def test_a_worker_that_writes_garbage_is_shown_as_such() -> None:
    text = "\n".join(shown(report(worker(0, is_garbled=True, requests=2**63))))
    assert "(writes garbage)" in text


@pytest.mark.parametrize("number", [0, 2**63, 2**64 - 1, 1.8446744073709552e19])
def test_whatever_numbers_a_worker_writes_it_is_shown(number: float) -> None:
    odd = {
        name: number if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in busy(0).items()
    }
    odd |= {"request": request(age_s=float(number)), "application": times(number, number, number)}
    odd |= {"cpu_s": number, "rss": number, "state": "active"}
    found = report(odd, worker(1))
    rates = between(report(busy(0), worker(1)), found, 1.0)
    for sort in SORTS.values():
        for size in ((80, 24), (200, 60)):
            shown(found, View(sort=sort), size, rates)
    for width in (40, 80, 200):
        assert all(len(line) <= width for line in table.drawn(found, width))
    assert table.plain(found)
