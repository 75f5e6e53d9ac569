"""`/status?auto`: the names of Apache's mod_status."""

from __future__ import annotations

from typing import Any

from prefork.admin.apache import auto
from prefork.admin.metrics import busy_ratio


def report(*states: str, **totals: Any) -> dict[str, Any]:
    workers = [{"slot": slot, "state": state, "cpu_s": 0.5} for slot, state in enumerate(states)]
    counts = {state: states.count(state) for state in ("starting", "spare", "active", "draining", "stuck")}
    times = {"application": {"sum_s": 1.5}, "last_byte": {"sum_s": 2.0}}
    figures = {"requests": 0, "bytes_out": 0, **times, **counts, **totals}
    manager = {"uptime_s": 90061.5, "generation": 3, "max_clients": 8}
    return {"manager": manager, "totals": figures, "workers": workers}


def read(text: str) -> dict[str, str]:
    host, *lines = text.splitlines()
    assert host == "node"
    return dict(line.split(": ", 1) for line in lines)


def test_the_figures_of_mod_status() -> None:
    states = ("spare", "active", "stuck", "draining", "starting")
    found = read(auto(report(*states, requests=1000, bytes_out=2048000), 1_700_000_000.0, "node"))
    assert found["Total Accesses"] == "1000"
    assert found["Total kBytes"] == "2000"
    assert found["Total Duration"] == "2000"
    assert found["DurationPerReq"] == "2"
    assert found["BytesPerReq"] == "2048"
    assert found["Uptime"] == found["ServerUptimeSeconds"] == "90061"
    assert found["ServerUptime"] == "1 day 1 hour 1 minute 1 second"
    assert found["CurrentTime"] == "Tuesday, 14-Nov-2023 22:13:20 UTC"
    assert float(found["ReqPerSec"]) == round(1000 / 90061, 7)
    assert (found["BusyWorkers"], found["GracefulWorkers"], found["IdleWorkers"]) == ("2", "1", "1")
    assert found["Scoreboard"] == "_WWGS..."


def test_a_pool_that_has_served_nothing() -> None:
    found = read(auto(report(), 0.0, "node"))
    assert found["Scoreboard"] == "........"
    assert "BytesPerReq" not in found
    assert found["ReqPerSec"] == "0"


def test_the_busy_ratio_is_of_all_that_the_pool_may_have() -> None:
    assert busy_ratio(report("spare", "active", "stuck")) == 0.25
    assert busy_ratio(report(*["active"] * 9)) == 1.0
