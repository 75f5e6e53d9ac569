"""The report on a pool as a table: plain text, or with colors on a terminal.

Plain text has all columns; a terminal those that it has room for. Values from clients, such as paths, are
never interpreted as markup, and control no terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prefork.logs.escaping import escape_line
from prefork.pool.scoreboard import LIMITED, TIMES

Report = Mapping[str, Any]
STYLES = {
    "starting": "yellow",
    "spare": "green",
    "active": "bold cyan",
    "draining": "magenta",
    "stuck": "bold red",
}
DECISIONS = 3
"""So many of the last ones are shown."""
REQUEST_WIDTH = 20
"""What the last column has at least."""


class Column(NamedTuple):
    """One column. `cell` returns the text for a worker. Those of a higher `rank` are left out first where
    there is no room.
    """

    title: str
    cell: Callable[[Report], str]
    right: bool = True
    rank: int = 0


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


def latency(seconds: float | None) -> str:
    """A time of a request: 87us, 1.25ms, 340ms, 2.5s; - if there is none."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1.0:
        digits = 2 if seconds < 0.01 else 1 if seconds < 0.1 else 0
        return f"{seconds * 1e3:.{digits}f}ms"
    return duration(seconds)


def memory(size: int | None) -> str:
    return "-" if size is None else amount(size)


def busy(worker: Report) -> str:
    return f"{min(1.0, worker['busy_s'] / worker['age_s']):.0%}" if worker["age_s"] else "0%"


def request(worker: Report) -> str:
    """The request in flight that began last, and how many there are besides."""
    if worker["is_garbled"]:
        return "(writes garbage)"
    now, others = worker["request"], worker["in_flight"] - 1
    if now is None:
        return f"{worker['in_flight']} in flight" if worker["in_flight"] else ""
    more = f", {others} more" if others > 0 else ""
    line = " ".join(filter(None, (now["method"], now["path"], f"for {duration(now['age_s'])}")))
    return escape_line(line) + more


COLUMNS = (
    Column("slot", lambda worker: str(worker["slot"]), rank=6),
    Column("pid", lambda worker: str(worker["pid"] or "?")),
    Column("state", lambda worker: worker["state"], right=False),
    Column("gen", lambda worker: str(worker["generation"]), rank=2),
    Column("age", lambda worker: duration(worker["age_s"])),
    Column("requests", lambda worker: f"{worker['requests']:,}"),
    Column("5xx", lambda worker: f"{worker['classes']['5xx']:,}", rank=2),
    Column("open", lambda worker: str(worker["connections"]), rank=3),
    Column("handed off", lambda worker: f"{worker['handed_off']:,}", rank=5),
    Column("adopted", lambda worker: f"{worker['adopted']:,}", rank=5),
    Column("in", lambda worker: amount(worker["bytes_in"]), rank=4),
    Column("out", lambda worker: amount(worker["bytes_out"]), rank=4),
    Column("busy", busy),
    Column("cpu", lambda worker: "-" if worker["cpu_s"] is None else duration(worker["cpu_s"]), rank=3),
    Column("memory", lambda worker: memory(worker["rss"]), rank=1),
    Column("pss", lambda worker: memory(worker["pss"]), rank=4),
    Column("p99", lambda worker: latency(worker["application"]["p99_s"]), rank=1),
    Column("lag", lambda worker: f"{1000 * worker['lag_s']:,.1f}ms", rank=4),
    Column("request", request, right=False),
)


def fitting(workers: Sequence[Report], width: int) -> list[Column]:
    """The columns that a terminal has room for, beside the last one, in their order."""
    widths = {
        column.title: max(len(column.title), *(len(column.cell(worker)) for worker in workers), 0) + 2
        for column in COLUMNS[:-1]
    }
    chosen: set[str] = set()
    left = width - REQUEST_WIDTH
    for column in sorted(COLUMNS[:-1], key=lambda column: column.rank):
        left -= widths[column.title]
        if left < 0 and column.rank:
            break
        chosen.add(column.title)
    return [column for column in COLUMNS if column.title in chosen or column is COLUMNS[-1]]


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


def decision(made: Report) -> str:
    """What the pool has decided, when, and why."""
    change = f"{made['change']:+}" if made["change"] else "0"
    return escape_line(f"{duration(made['age_s'])} ago".rjust(10) + change.rjust(5) + f"  {made['why']}")


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
    lines += [*responses(totals), *usage(report["workers"]), *times(totals)]
    if waiting := totals["waiting"]:
        lines.append(f"{waiting:,} waiting for a worker")
    if any(totals[name] for name in LIMITED):
        applied = [f"{totals[name]:,} {name.removeprefix('limited_')}" for name in LIMITED if totals[name]]
        lines.append(f"limits applied: {', '.join(applied)}")
    if lost := totals["log_lost"]:
        lines.append(f"{lost:,} lines of the access log were lost")
    if manager.get("refork"):
        lines += reforks(manager["refork"])
    if manager["overcommit"]:
        lines.append(
            "overcommit: no spare is left and the pool cannot grow, so active workers accept too, "
            "as soon as they can call the application"
        )
    if decisions := manager["decisions"]:
        lines += ["last decisions:", *map(decision, decisions[-DECISIONS:])]
    return lines


def responses(totals: Report) -> list[str]:
    """How many there were of each class, and what HTTP/2 and TLS had, in a line each if there were any."""
    classes = [f"{count:,} {name}" for name, count in totals["classes"].items() if count]
    found = [f"responses: {', '.join(classes)}"] if classes else []
    tls, http2 = totals["tls"], totals["http2"]
    if tls["handshakes"]:
        found.append(f"{tls['handshakes']:,} TLS handshakes, {tls['resumed']:,} of them resumed")
    if http2["streams"]:
        found.append(f"{http2['streams']:,} requests over HTTP/2, {http2['connections']:,} connections open")
    return found


def usage(workers: Sequence[Report]) -> list[str]:
    """CPU time and memory of all workers together, if the system tells."""
    cpu_s = sum(worker["cpu_s"] or 0.0 for worker in workers)
    rss = sum(worker["rss"] or 0 for worker in workers)
    if not rss:
        return []
    line = f"workers: {duration(cpu_s)} of CPU, {amount(rss)} of memory (what they share counts for each)"
    shares = [worker["pss"] for worker in workers]
    once = "" if None in shares else f", {amount(sum(shares))} if it counts once"
    return [line + once]


def times(totals: Report) -> list[str]:
    """Quantiles of the times of requests, as a small table."""
    if not any(totals[name]["count"] for name in TIMES):
        return []
    lines = [f"{'':12}{'p50':>9}{'p90':>9}{'p99':>9}"]
    for name in TIMES:
        found = totals[name]
        quantiles = "".join(f"{latency(found[quantile]):>9}" for quantile in ("p50_s", "p90_s", "p99_s"))
        lines.append(f"{name.replace('_', ' '):12}{quantiles}")
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
    rows = _rows(report["workers"], COLUMNS)
    rows[0] = [title.upper() for title in rows[0]]
    return "\n".join([*summary(report), "", *("  ".join(row).rstrip() for row in rows)])


def _rows(workers: Sequence[Report], columns: Sequence[Column]) -> list[list[str]]:
    """The cells of the heading and of each worker, those of a column equally wide."""
    rows = [[column.title for column in columns]]
    rows += [[column.cell(worker) for column in columns] for worker in workers]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        for row in rows
    ]


def draw(report: Report) -> None:
    """Prints the report on the terminal."""
    _write("".join(f"{line}\n" for line in drawn(report, _size()[0])))


def redraw(report: Report) -> None:
    """Prints it in place of what the terminal shows, as far as there is room."""
    width, height = _size()
    lines = drawn(report, width)
    if len(lines) >= height:
        left = len(lines) - height + 2
        lines = [*lines[: height - 2], f"... {left} more lines"]
    # Each line is erased when it is written: to erase the screen first would make it flicker.
    _write("\x1b[H" + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")


def _write(text: str) -> None:
    """Writes to the terminal, which may be one of a locale without the ellipsis."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    width, height = shutil.get_terminal_size()
    return width, height


def drawn(report: Report, width: int) -> list[str]:
    """The lines of the report, with colors if the terminal has some, and no longer than its width."""
    import io

    from rich.console import Console
    from rich.text import Text

    columns = fitting(report["workers"], width)
    heading, *rows = _rows(report["workers"], columns)
    lines = [Text("  ".join(heading), "bold", no_wrap=True)]
    for worker, row in zip(report["workers"], rows, strict=True):
        line = Text("", no_wrap=True)
        for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
            line.append("  " if number else "")
            line.append(cell, STYLES.get(worker["state"], "") if column.title == "state" else "")
        lines.append(line)
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=sys.stdout.isatty(), highlight=False)
    console.print(*map(Text, summary(report)), "", sep="\n")
    for line in lines:
        console.print(line)
    return text.getvalue().splitlines()
