"""The report on a pool as a table: plain text, or with colors on a terminal.

Both have the same columns. Values from clients, such as paths, are never interpreted as markup, and control
no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prefork.logs.escaping import escape_line
from prefork.pool.scoreboard import LIMITED

Report = Mapping[str, Any]
STYLES = {
    "starting": "yellow",
    "spare": "green",
    "active": "bold cyan",
    "draining": "magenta",
    "stuck": "bold red",
}


class Column(NamedTuple):
    """One column. `cell` returns the text for a worker."""

    title: str
    cell: Callable[[Report], str]
    right: bool = True


def duration(seconds: float) -> str:
    """The two largest units: 0.25s, 12s, 3m05s, 2h10m, 4d06h."""
    if seconds < 10:
        return f"{seconds:.2g}s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def amount(size: float) -> str:
    """Bytes in the unit with at most four digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def busy(worker: Report) -> str:
    return f"{min(1.0, worker['busy_s'] / worker['age_s']):.0%}" if worker["age_s"] else "0%"


def request(worker: Report) -> str:
    """The request in flight that began last, and how many there are besides."""
    now, others = worker["request"], worker["in_flight"] - 1
    if now is None:
        return f"{worker['in_flight']} in flight" if worker["in_flight"] else ""
    more = f", {others} more" if others > 0 else ""
    return escape_line(f"{now['method']} {now['path']} for {duration(now['age_s'])}") + more


COLUMNS = (
    Column("slot", lambda worker: str(worker["slot"])),
    Column("pid", lambda worker: str(worker["pid"] or "?")),
    Column("state", lambda worker: worker["state"], right=False),
    Column("gen", lambda worker: str(worker["generation"])),
    Column("age", lambda worker: duration(worker["age_s"])),
    Column("requests", lambda worker: f"{worker['requests']:,}"),
    Column("open", lambda worker: str(worker["connections"])),
    Column("handed off", lambda worker: f"{worker['handed_off']:,}"),
    Column("adopted", lambda worker: f"{worker['adopted']:,}"),
    Column("in", lambda worker: amount(worker["bytes_in"])),
    Column("out", lambda worker: amount(worker["bytes_out"])),
    Column("busy", busy),
    Column("lag", lambda worker: f"{1000 * worker['lag_s']:,.1f}ms"),
    Column("request", request, right=False),
)


def listening(places: Sequence[Report] | None) -> list[str]:
    """Where the pool listens, one line for each address. None: the manager has not responded."""
    if places is None:
        return ["the manager does not respond, and so does not tell where it listens"]
    return [f"listening on {listener(place)}" for place in places] or ["not listening"]


def listener(place: Report) -> str:
    """An address, and what is spoken there besides HTTP/1."""
    marks = {
        "TLS": place["tls"],
        "h2": "h2" in place["protocols"],
        "h2c": "h2c" in place["protocols"],
        "PROXY protocol": place["proxy_protocol"],
        "redirects to https": place["redirects"],
    }
    said = ", ".join(mark for mark, holds in marks.items() if holds)
    return escape_line(f"{place['url']} ({said})" if said else place["url"])


def summary(report: Report) -> list[str]:
    """The lines above the table."""
    manager, totals = report["manager"], report["totals"]
    shown = [state for state in STYLES if totals[state] or state != "stuck"]
    states = ", ".join(f"{totals[state]} {state}" for state in shown)
    lines = [
        f"pool {manager['glue']}, manager {manager['pid']}, up {duration(manager['uptime_s'])}",
        *listening(manager["listeners"]),
        f"{totals['workers']} workers, maximum {manager['max_clients']}: {states}; "
        f"spare limits {manager['min_spare']} to {manager['max_spare']}",
        f"{totals['requests']:,} requests, {totals['connections']} connections open, "
        f"{amount(totals['bytes_in'])} in, {amount(totals['bytes_out'])} out, "
        f"{totals['handed_off']:,} handed off, {totals['adopted']:,} adopted",
    ]
    if waiting := totals["waiting"]:
        lines.append(f"{waiting:,} waiting for a worker")
    if any(totals[name] for name in LIMITED):
        applied = [f"{totals[name]:,} {name.removeprefix('limited_')}" for name in LIMITED if totals[name]]
        lines.append(f"limits applied: {', '.join(applied)}")
    if manager.get("refork"):
        lines += reforks(manager["refork"])
    if manager["overcommit"]:
        lines.append(
            "overcommit: no spare is left and the pool cannot grow, so active workers accept too, "
            "as soon as they can call the application"
        )
    return lines


def reforks(figures: Report) -> list[str]:
    """What --refork-after has brought: the median memory of a worker before the first time, and now."""
    lines = [
        f"{figures['count']} reforks, the next when a worker has served {figures['next_after']:,} requests"
    ]
    for when, name in (("before", "before the first one"), ("now", "now")):
        if (one := figures[when]) is not None:
            lines.append(
                f"memory of a worker {name}, at {one['requests']:,} requests: PSS {amount(one['pss'])}, "
                f"private {amount(one['private'])}"
            )
    return lines


def plain(report: Report) -> str:
    """The report as text, one line per worker."""
    rows = [[column.title.upper() for column in COLUMNS]]
    rows += [[column.cell(worker) for column in COLUMNS] for worker in report["workers"]]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, COLUMNS, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*summary(report), "", *lines])


def draw(report: Report) -> None:
    """Prints the report on the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="ellipsis")
    for worker in report["workers"]:
        style = STYLES.get(worker["state"], "")
        table.add_row(
            *(Text(column.cell(worker), style if column.title == "state" else "") for column in COLUMNS)
        )
    console = Console(highlight=False)
    console.print(*map(Text, summary(report)), "", sep="\n")
    console.print(table)
