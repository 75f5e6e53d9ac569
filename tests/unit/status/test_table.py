from __future__ import annotations

from typing import Any

import pytest

from prefork.status import table
from support.reports import report, request, times, worker

TOTALS = {
    "workers": 2,
    "requests": 1234,
    "connections": 1,
    "bytes_in": 100,
    "bytes_out": 3 << 20,
    "handed_off": 7,
    "adopted": 6,
}
IDLE = worker(0)
BUSY = worker(
    1,
    pid=0,
    state="active",
    requests=1234,
    busy_s=50.0,
    handed_off=1234,
    adopted=5,
    in_flight=1,
    request=request("/[red]x"),
)
REPORT = report(IDLE, BUSY, **TOTALS)


def with_totals(**totals: Any) -> dict[str, Any]:
    return report(IDLE, BUSY, **(TOTALS | totals))


def with_manager(**manager: Any) -> dict[str, Any]:
    return report(IDLE, BUSY, **TOTALS, **manager)


def test_plain_text_has_a_summary_and_a_line_a_worker():
    assert table.plain(REPORT).splitlines() == [
        "pool site, manager 100, up 1h05m",
        "not listening",
        "2 workers, maximum 8: 0 starting, 1 spare, 1 active, 0 draining; spare limits 1 to 3",
        "1,234 requests, 1 connections open, 100 B in, 3 MiB out, 7 handed off, 6 adopted",
        "",
        "SLOT  PID  STATE   GEN    AGE  REQUESTS  5XX  OPEN  HANDED OFF  ADOPTED   IN  OUT  BUSY  CPU  "
        "MEMORY  PSS  P99      LAG  REQUEST",
        "   0  100  spare     1  3m20s         0    0     0           0        0  0 B  0 B    0%    -  "
        "     -    -    -  250.0ms",
        "   1    ?  active    1  3m20s     1,234    0     0       1,234        5  0 B  0 B   25%    -  "
        "     -    -    -  250.0ms  GET /[red]x for 0.25s",
    ]


@pytest.mark.parametrize(
    ("named", "in_flight", "shown"),
    [
        (BUSY["request"], 1, "GET /[red]x for 0.25s"),
        (BUSY["request"], 3, "GET /[red]x for 0.25s, 2 more"),
        (None, 9, "9 in flight"),
        (None, 0, ""),
    ],
)
def test_the_column_of_the_request_tells_how_many_are_in_flight(named, in_flight, shown):
    assert table.request(BUSY | {"request": named, "in_flight": in_flight}) == shown


def test_a_pool_without_workers_has_a_heading_only():
    assert table.plain(report()).endswith("REQUEST")


def test_a_pool_that_overcommits_says_so():
    reported = table.plain(with_manager(overcommit=True))
    assert "active workers accept too, as soon as they can call the application" in reported


def test_what_a_refork_has_brought_is_shown():
    figures: dict[str, Any] = {"count": 0, "next_after": 1000, "before": None, "now": None}
    shown = table.summary(with_manager(refork=figures))
    assert shown[-1] == "0 reforks, the next when a worker has served 1,000 requests"
    memory = {"workers": 8, "requests": 1004, "pss": 38 << 20, "private": 31 << 20}
    figures = {"count": 2, "next_after": 4000, "before": memory, "now": memory | {"private": 4 << 20}}
    shown = table.summary(with_manager(refork=figures))
    assert shown[-2:] == [
        "memory of a worker before the first one, at 1,004 requests: PSS 38 MiB, private 31 MiB",
        "memory of a worker now, at 1,004 requests: PSS 38 MiB, private 4 MiB",
    ]


def test_limits_that_were_applied_are_shown():
    assert "limits applied" not in table.plain(REPORT)
    shown = table.plain(with_totals(limited_address=1234, limited_rate=1))
    assert "limits applied: 1,234 address, 1 rate" in shown


def test_lines_of_the_access_log_that_were_lost_are_shown():
    assert "access log" not in table.plain(REPORT)
    assert "1,234 lines of the access log were lost" in table.plain(with_totals(log_lost=1234))


def test_the_terminal_shows_the_same_and_no_markup_of_a_client(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table.draw(REPORT)
    shown = " ".join(capsys.readouterr().out.split())
    for line in table.plain(REPORT).splitlines()[:3]:
        assert line in shown
    assert "GET /[red]x for 0.25s" in shown


def titles(width: int, *workers: dict[str, Any]) -> list[str]:
    return [column.title for column in table.fitting(workers, width)]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_terminal_gets_the_columns_that_it_has_room_for(width: int) -> None:
    large = worker(
        12, pid=4194303, age_s=9e5, requests=123_456_789, rss=1 << 30, application=times(0.1, 0.2, 0.9)
    )
    found = report(large, worker(0, state="active", in_flight=1, request=request("/long" * 50)))
    lines = table.drawn(found, width)
    rows = lines[-2:]
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert "4194303" in rows[0]
        assert "900ms" in rows[0]
        assert "GET /long/long" in rows[1]
        assert rows[1].endswith("\u2026")


def test_columns_are_left_out_from_the_least_needed() -> None:
    assert titles(500, IDLE) == [column.title for column in table.COLUMNS]
    assert titles(1, IDLE) == ["pid", "state", "age", "requests", "busy", "request"]
    for width in range(1, 300):
        assert set(titles(width, IDLE)) <= set(titles(width + 1, IDLE))


def test_a_terminal_that_is_redrawn_shows_what_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    table.redraw(report(*(worker(slot) for slot in range(100))))
    shown = capsys.readouterr().out
    assert shown.startswith("\x1b[H\x1b[2Kpool site")
    assert shown.count("\n") == 19
    assert "more lines" in shown


def test_figures_of_responses_times_and_processes_are_shown() -> None:
    plain = table.plain(REPORT)
    for word in ("responses:", "p50", "TLS", "HTTP/2", "of CPU", "decisions"):
        assert word not in plain
    found = report(
        IDLE | {"cpu_s": 61.0, "rss": 20 << 20, "pss": 14 << 20},
        BUSY | {"cpu_s": 4.0, "rss": 22 << 20, "pss": 16 << 20},
        classes={"1xx": 0, "2xx": 12034, "3xx": 0, "4xx": 3, "5xx": 1},
        tls={"handshakes": 12, "resumed": 3},
        http2={"connections": 4, "streams": 1200},
        wait=times(0.00012, 0.0003, 0.0012),
        application=times(0.012, 0.34, 2.5),
        decisions=[{"age_s": float(age), "change": age - 2, "why": f"reason {age}"} for age in (5, 4, 3, 2)],
    )
    lines = table.summary(found)
    assert lines[4:] == [
        "responses: 12,034 2xx, 3 4xx, 1 5xx",
        "12 TLS handshakes, 3 of them resumed",
        "1,200 requests over HTTP/2, 4 connections open",
        "workers: 1m05s of CPU, 42 MiB of memory (what they share counts for each), 30 MiB if it counts once",
        "                  p50      p90      p99",
        "wait            120us    300us   1.20ms",
        "application    12.0ms    340ms     2.5s",
        "last byte           -        -        -",
        "last decisions:",
        "    4s ago   +2  reason 4",
        "    3s ago   +1  reason 3",
        "    2s ago    0  reason 2",
    ]


def test_a_worker_that_writes_garbage_is_shown_as_such() -> None:
    assert table.request(BUSY | {"is_garbled": True}) == "(writes garbage)"


def test_a_hidden_path_leaves_the_method() -> None:
    assert table.request(BUSY | {"request": request(None)}) == "GET for 0.25s"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0us"),
        (0.000087, "87us"),
        (0.00125, "1.25ms"),
        (0.0125, "12.5ms"),
        (0.34, "340ms"),
        (2.5, "2.5s"),
        (61.0, "1m01s"),
    ],
)
def test_times_of_requests(seconds: float | None, shown: str) -> None:
    assert table.latency(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.254, "0.25s"),
        (12.9, "12s"),
        (60, "1m00s"),
        (7800, "2h10m"),
        (4 * 86400 + 21600, "4d06h"),
    ],
)
def test_durations(seconds, shown):
    assert table.duration(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1 GiB"), (1 << 50, "1,024.0 TiB")],
)
def test_amounts(size, shown):
    assert table.amount(size) == shown


def test_it_says_where_the_pool_listens_and_what_is_spoken_there():
    plain = {"tls": False, "protocols": ["http/1.1"], "proxy_protocol": False, "redirects": False}
    places = [
        plain | {"url": "https://0.0.0.0:443", "tls": True, "protocols": ["h2", "http/1.1"]},
        plain | {"url": "unix:/run/\x1b]0;x", "protocols": ["http/1.1", "h2c"], "proxy_protocol": True},
        plain | {"url": "http://0.0.0.0:80", "redirects": True},
        plain | {"url": "http://127.0.0.1:8080"},
    ]
    assert table.listening(places) == [
        "listening on https://0.0.0.0:443 (TLS, h2)",
        "listening on unix:/run/\\x1b]0;x (h2c, PROXY protocol)",
        "listening on http://0.0.0.0:80 (redirects to https)",
        "listening on http://127.0.0.1:8080",
    ]
    assert table.summary(with_manager(listeners=places))[1:5] == table.listening(places)


def test_a_pool_that_does_not_listen_or_respond_is_said():
    assert table.listening([]) == ["not listening"]
    assert table.listening(None) == ["the manager does not respond, and so does not tell where it listens"]
