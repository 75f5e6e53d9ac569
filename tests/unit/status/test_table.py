from __future__ import annotations

from typing import Any

import pytest

from prefork.pool.scoreboard import LIMITED
from prefork.status import table

MANAGER = {
    "glue": "site",
    "pid": 100,
    "uptime_s": 3905.0,
    "min_spare": 1,
    "max_spare": 3,
    "max_clients": 8,
    "overcommit": False,
    "listeners": [],
}
TOTALS = {
    "workers": 2,
    "starting": 0,
    "spare": 1,
    "active": 1,
    "draining": 0,
    "stuck": 0,
    "requests": 1234,
    "connections": 1,
    "bytes_in": 100,
    "bytes_out": 3 << 20,
    "handed_off": 7,
    "adopted": 6,
    "waiting": 0,
    **dict.fromkeys(LIMITED, 0),
}
IDLE = {
    "slot": 0,
    "pid": 101,
    "state": "spare",
    "generation": 1,
    "age_s": 200.0,
    "requests": 0,
    "connections": 0,
    "bytes_in": 0,
    "bytes_out": 0,
    "busy_s": 0.0,
    "lag_s": 0.25,
    "handed_off": 0,
    "adopted": 0,
    "in_flight": 0,
    "request": None,
}
BUSY = IDLE | {
    "slot": 1,
    "pid": 0,
    "state": "active",
    "requests": 1234,
    "busy_s": 50.0,
    "handed_off": 1234,
    "adopted": 5,
    "in_flight": 1,
    "request": {"method": "GET", "path": "/[red]x", "age_s": 0.25},
}
REPORT = {"manager": MANAGER, "totals": TOTALS, "workers": [IDLE, BUSY]}


def test_plain_text_has_a_summary_and_a_line_a_worker():
    assert table.plain(REPORT).splitlines() == [
        "pool site, manager 100, up 1h05m",
        "not listening",
        "2 workers, maximum 8: 0 starting, 1 spare, 1 active, 0 draining; spare limits 1 to 3",
        "1,234 requests, 1 connections open, 100 B in, 3 MiB out, 7 handed off, 6 adopted",
        "",
        "SLOT  PID  STATE   GEN    AGE  REQUESTS  OPEN  HANDED OFF  ADOPTED   IN  OUT  BUSY      LAG  "
        "REQUEST",
        "   0  101  spare     1  3m20s         0     0           0        0  0 B  0 B    0%  250.0ms",
        "   1    ?  active    1  3m20s     1,234     0       1,234        5  0 B  0 B   25%  250.0ms  "
        "GET /[red]x for 0.25s",
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
    assert table.plain(REPORT | {"workers": []}).endswith("REQUEST")


def test_a_pool_that_overcommits_says_so():
    reported = table.plain(REPORT | {"manager": MANAGER | {"overcommit": True}})
    assert "active workers accept too, as soon as they can call the application" in reported


def test_what_a_refork_has_brought_is_shown():
    figures: dict[str, Any] = {"count": 0, "next_after": 1000, "before": None, "now": None}
    shown = table.summary(REPORT | {"manager": MANAGER | {"refork": figures}})
    assert shown[-1] == "0 reforks, the next when a worker has served 1,000 requests"
    memory = {"workers": 8, "requests": 1004, "pss": 38 << 20, "private": 31 << 20}
    figures = {"count": 2, "next_after": 4000, "before": memory, "now": memory | {"private": 4 << 20}}
    shown = table.summary(REPORT | {"manager": MANAGER | {"refork": figures}})
    assert shown[-2:] == [
        "memory of a worker before the first one, at 1,004 requests: PSS 38 MiB, private 31 MiB",
        "memory of a worker now, at 1,004 requests: PSS 38 MiB, private 4 MiB",
    ]


def test_limits_that_were_applied_are_shown():
    assert "limits applied" not in table.plain(REPORT)
    totals = TOTALS | {"limited_address": 1234, "limited_rate": 1}
    assert "limits applied: 1,234 address, 1 rate" in table.plain(REPORT | {"totals": totals})


def test_the_terminal_shows_the_same_and_no_markup_of_a_client(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table.draw(REPORT)
    shown = " ".join(capsys.readouterr().out.split())
    for line in table.plain(REPORT).splitlines()[:3]:
        assert line in shown
    assert "GET /[red]x for 0.25s" in shown


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
    assert table.summary(REPORT | {"manager": MANAGER | {"listeners": places}})[1:5] == table.listening(
        places
    )


def test_a_pool_that_does_not_listen_or_respond_is_said():
    assert table.listening([]) == ["not listening"]
    assert table.listening(None) == ["the manager does not respond, and so does not tell where it listens"]
