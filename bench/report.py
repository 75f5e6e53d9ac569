"""The tables on standard output, and the file with everything behind them."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, Measured
from bench.load import MODES, Mode, Run
from bench.throughput import Runs, median

RESULTS = Path(__file__).with_name("results")
BUSY = 0.95
"""A server that had its core for less of the time waited for the load, or for others on that core."""


def show_about(about: dict[str, Any]) -> None:
    """What it ran on."""
    machine = about["machine"]
    print(
        f"{machine['cores']} cores of {machine['cpu']}, {machine['system']}, load {machine['load_average']}"
    )
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))


def show_runs(runs: Runs) -> None:
    """Medians by server and mode."""
    print(f"\n{'medians':<36}{'requests/s':>12}{'CPU us/request':>16}{'core busy':>11}")
    for mode in MODES:
        print(f"\n  {mode.name}")
        for (name, of_mode), of_server in runs.items():
            if of_mode == mode.name:
                print(_line(name, of_server))
    print(f"\n  * busy for less than {BUSY:.0%} of the time, so it could do more: compare CPU per request")


def _line(name: str, runs: list[Run]) -> str:
    busy = median(runs, lambda run: run.busy)
    mark = " " if busy >= BUSY else "*"
    return (
        f"    {name:<32}{median(runs, lambda run: run.requests_per_s):>12,.0f}{mark}"
        f"{median(runs, lambda run: run.cpu_us_per_request):>15.2f}"
        f"{busy:>11.0%}"
    )


def show_figures(lines: list[Figure]) -> None:
    """Each beside its target."""
    print(f"\n{'figure':<52}{'value':>9} {'':<9}{'target':>9}  holds")
    for line in lines:
        value = "missed" if line.value is None else f"{line.value:.2f}"
        target = "" if line.target is None else f"{line.target[0]} {line.target[1]:g}"
        holds = {None: "", True: "yes", False: "NO"}[line.holds]
        print(f"  {line.name:<50}{value:>9} {line.unit:<9}{target:>9}  {holds:<4} {line.note}".rstrip())


def write(measured: Measured, lines: list[Figure], about: dict[str, Any]) -> Path:
    """Everything as JSON, named after the moment; returns where."""
    now = datetime.now(UTC)
    content = {
        "date": now.isoformat(timespec="seconds"),
        **about,
        "figures": [{**dataclasses.asdict(line), "holds": line.holds} for line in lines],
        "throughput": _by_mode(measured.runs),
        "scoreboard": dataclasses.asdict(measured.scoreboard),
        "refill_ms": measured.refill_ms,
        "crowd_ms": measured.crowd_ms,
        "worker_bytes": measured.worker_bytes,
        "connection_bytes": measured.connection_bytes,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    file.write_text(json.dumps(_rounded(content), indent=1) + "\n")
    return file


def _by_mode(runs: Runs) -> dict[str, dict[str, list[dict[str, float]]]]:
    def of(mode: Mode) -> dict[str, list[dict[str, float]]]:
        found = ((name, of_server) for (name, at), of_server in runs.items() if at == mode.name)
        return {name: [dataclasses.asdict(run) for run in of_server] for name, of_server in found}

    return {mode.name: of(mode) for mode in MODES}


def _rounded(value: object) -> object:
    """Four digits behind the point: more would be noise."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
