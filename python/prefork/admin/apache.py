"""`/status?auto`: the report as Apache's mod_status writes it for programs, with its names.

What has no equivalent here is left out. `/status` alone is the table of `prefork status`.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefork.admin.version import VERSION
from prefork.status import table

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View

FLAGS = {"starting": "S", "spare": "_", "active": "W", "draining": "G", "stuck": "W"}
"""Starting up, waiting for a connection, sending a reply, gracefully finishing. An empty slot is a dot."""


def status(view: View, request: Request, response: Response) -> str:
    """The text for programs with the query `auto`, and else that for people."""
    report = view.report()
    if report is None:
        response.code = 503
        return "there is no pool yet\n"
    if "auto" not in request.query.split("&"):
        return table.plain(report) + "\n"
    return auto(report, time.time(), socket.gethostname())


def auto(report: Mapping[str, Any], now_s: float, host: str) -> str:
    """The text. `now_s` is in seconds of the Unix epoch."""
    manager, totals, workers = report["manager"], report["totals"], report["workers"]
    uptime_s = int(manager["uptime_s"])
    per_s = max(uptime_s, 1)
    requests, kbytes = totals["requests"], totals["bytes_out"] // 1024
    duration_ms = round(1000 * totals["last_byte"]["sum_s"])
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = sum(worker["cpu_s"] or 0.0 for worker in workers) + own.ru_utime + own.ru_stime
    cpu_s += ended.ru_utime + ended.ru_stime
    lines: dict[str, object] = {
        "ServerVersion": f"prefork/{VERSION}",
        "ServerMPM": "prefork",
        "CurrentTime": _date(now_s),
        "RestartTime": _date(now_s - uptime_s),
        "ParentServerConfigGeneration": manager["generation"],
        "ParentServerMPMGeneration": manager["generation"] - 1,
        "ServerUptimeSeconds": uptime_s,
        "ServerUptime": _spoken(uptime_s),
        **{f"Load{over}": f"{load:.2f}" for over, load in zip((1, 5, 15), os.getloadavg(), strict=True)},
        "Total Accesses": requests,
        "Total kBytes": kbytes,
        "Total Duration": duration_ms,
        "CPUUser": _short(own.ru_utime),
        "CPUSystem": _short(own.ru_stime),
        "CPUChildrenUser": _short(ended.ru_utime),
        "CPUChildrenSystem": _short(ended.ru_stime),
        "CPULoad": _short(100 * cpu_s / per_s),
        "Uptime": uptime_s,
        "ReqPerSec": _short(requests / per_s),
        "BytesPerSec": _short(1024 * kbytes / per_s),
    }
    if requests:
        lines["BytesPerReq"] = _short(1024 * kbytes / requests)
        lines["DurationPerReq"] = _short(duration_ms / requests)
    lines["BusyWorkers"] = totals["active"] + totals["stuck"]
    lines["GracefulWorkers"] = totals["draining"]
    lines["IdleWorkers"] = totals["spare"]
    lines["Scoreboard"] = _scoreboard(workers, manager["max_clients"])
    return "\n".join([host, *(f"{name}: {value}" for name, value in lines.items())]) + "\n"


def _scoreboard(workers: list[dict[str, Any]], most: int) -> str:
    """One character for each slot. The workers that drain may have some beyond `most`."""
    slots = ["."] * max(most, *(worker["slot"] + 1 for worker in workers), 0)
    for worker in workers:
        slots[worker["slot"]] = FLAGS.get(worker["state"], "?")
    return "".join(slots)


def _date(moment_s: float) -> str:
    return time.strftime("%A, %d-%b-%Y %H:%M:%S UTC", time.gmtime(moment_s))


def _short(value: float) -> str:
    """As C's %g has it."""
    return f"{value:g}"


def _spoken(seconds: int) -> str:
    """As Apache writes it: `1 day 2 hours 3 seconds`."""
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 seconds"
