"""One frame of `prefork top`: lines for a terminal of any size (pure).

Always: as many lines as the terminal has, none longer than it is wide, and no text of a client or a worker
controls it: each is escaped in `_text`. What there is room for decides what is shown; the line of keys and
the line of the pool are always there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from prefork.logs.escaping import escape_line
from prefork.status.table import STYLES, amount, decision, duration, latency, memory, request
from prefork.status.top.quantiles import Quantiles, since_ever
from prefork.status.top.rates import Rates, WorkerRates
from prefork.status.top.view import View

Report = Mapping[str, Any]

CELLS = {"spare": "o", "active": "#", "starting": "+", "draining": "-", "stuck": "!"}
"""In the grid: a letter for each state, since a terminal may have no colors."""
CELL_STYLES = {
    "spare": "black on green",
    "active": "black on cyan",
    "starting": "black on yellow",
    "draining": "black on magenta",
    "stuck": "bold white on red",
}
FEWEST_WORKERS = 4
"""So many lines of workers are shown before requests get any."""
MOST_DECISIONS = 3
WIDE = 110
"""From this width on, all quantiles are shown."""
KEYS = "q quit  p pause  s stack  ? help"


class _Column(NamedTuple):
    """A column of the table of workers. `sort` is the choice that orders by it."""

    title: str
    width: int
    cell: Callable[[Report, WorkerRates], str]
    sort: str = ""
    least: int = 0
    """The width of a terminal that has room for it."""


COLUMNS = (
    _Column("SLOT", 5, lambda worker, _: str(worker["slot"]), "slot", 100),
    _Column("PID", 8, lambda worker, _: str(worker["pid"] or "?")),
    _Column("STATE", 9, lambda worker, _: worker["state"]),
    _Column("GEN", 4, lambda worker, _: str(worker["generation"]), "", 100),
    _Column("AGE", 7, lambda worker, _: duration(worker["age_s"]), "age"),
    _Column("REQUESTS", 11, lambda worker, _: f"{worker['requests']:,}", "requests"),
    _Column("REQ/S", 8, lambda _, rates: f"{rates.requests:,.1f}", "", 90),
    _Column("BUSY", 6, lambda _, rates: f"{rates.busy:.0%}", "busy"),
    _Column("CPU", 6, lambda _, rates: f"{rates.cpu:.0%}", "cpu", 80),
    _Column("MEMORY", 11, lambda worker, _: memory(worker["rss"]), "memory", 60),
    _Column("P99", 8, lambda worker, _: latency(worker["application"]["p99_s"]), "", 110),
    _Column("OPEN", 6, lambda worker, _: str(worker["connections"]), "", 120),
    _Column("5XX", 7, lambda worker, _: f"{worker['classes']['5xx']:,}", "", 130),
)


def frame(
    report: Report,
    rates: Rates,
    view: View,
    size: tuple[int, int],
    *,
    quantiles: Quantiles | None = None,
    note: str = "",
    clock: str = "",
) -> list[Text]:
    """The lines of a terminal of this size, columns and lines. `quantiles` are those of all requests if none
    are given. `note` is shown above all, `clock` is the time of the report.

    It sets the order of the workers in the view.
    """
    width, height = max(1, size[0]), max(1, size[1])
    workers = _sorted(report["workers"], rates, view)
    view.order = [worker["pid"] for worker in workers]
    title = _title(report, view, width, clock)
    if view.page is not None:
        shown = [_text(line) for line in view.page[view.top : view.top + max(0, height - 2)]]
        return _fit([title, *shown], _text("q quit  escape back  up, down scroll", "reverse"), width, height)
    head = [title, *([_text(note, "bold red")] if note else []), *_grid(report["workers"], width, height)]
    head += [_legend(report), _rates(report, rates), _times(quantiles or since_ever(report["totals"]), width)]
    room = height - len(head) - 1
    decisions = list(report["manager"]["decisions"] or [])[-MOST_DECISIONS:]
    decisions = decisions[max(0, len(decisions) - max(0, room - FEWEST_WORKERS - 2)) :]
    head += [_text(decision(made), "dim") for made in decisions]
    room = height - len(head) - 1
    requests = _requests(workers, max(0, room - min(len(workers), FEWEST_WORKERS) - 2) // 2)
    table, part = _table(workers, rates, view, width, room - len(requests))
    return _fit([*head, *table, *requests], _footer(view, part), width, height)


def _text(line: str, style: str = "") -> Text:
    return Text(escape_line(line), style, no_wrap=True, end="")


def _fit(lines: Sequence[Text], footer: Text, width: int, height: int) -> list[Text]:
    """As many lines as the terminal has. The last one is the footer."""
    kept = list(lines[: height - 1])
    kept += [Text("", end="") for _ in range(height - 1 - len(kept))]
    kept.append(footer)
    for line in kept:
        line.truncate(width, overflow="ellipsis")
    return kept[-height:]


def _title(report: Report, view: View, width: int, clock: str) -> Text:
    manager = report["manager"]
    left = (
        f"pool {manager['glue']}  manager {manager['pid']}  up {duration(manager['uptime_s'])}  "
        f"generation {manager['generation']}"
    )
    right = f"PAUSED {clock}" if view.paused else clock
    line = _text(left, "bold")
    line.truncate(max(0, width - len(right) - 1), overflow="ellipsis")
    line.append(" " * max(1, width - line.cell_len - len(right)))
    line.append(right, "bold yellow" if view.paused else "")
    return line


def _footer(view: View, part: str) -> Text:
    """The keys, how the workers are sorted, and which part of them is shown."""
    return _text(f"{KEYS}  sorted by {view.sort}{' (reversed)' if view.reverse else ''}{part}", "reverse")


def _grid(workers: Sequence[Report], width: int, height: int) -> list[Text]:
    """A cell for each worker, in the order of the slots. If they are too many, a bar of the states."""
    most = max(1, height // 8)
    states = [worker["state"] for worker in sorted(workers, key=lambda worker: worker["slot"])]
    if len(states) <= most * width:
        rows = [states[at : at + width] for at in range(0, len(states), width)] or [[]]
    else:
        rows = [_bar(states, width)]
    lines = []
    for row in rows:
        line = Text("", no_wrap=True, end="")
        for state in row:
            line.append(CELLS.get(state, "?"), CELL_STYLES.get(state, ""))
        lines.append(line)
    return lines


def _bar(states: Sequence[str], width: int) -> list[str]:
    """The states in proportion. One that few workers have is seen all the same."""
    counts = {state: states.count(state) for state in CELLS if state in states}
    cells = {state: max(1, width * count // len(states)) for state, count in counts.items()}
    largest = max(cells, key=lambda state: cells[state])
    cells[largest] = max(1, cells[largest] + width - sum(cells.values()))
    return [state for state, count in cells.items() for _ in range(count)]


def _legend(report: Report) -> Text:
    totals, manager = report["totals"], report["manager"]
    line = Text("", no_wrap=True, end="")
    for state, cell in CELLS.items():
        if totals[state] or state in ("spare", "active"):
            line.append(cell, CELL_STYLES[state])
            line.append(escape_line(f" {totals[state]} {state}  "))
    limits = f"max {manager['max_clients']}, spares {manager['min_spare']} to {manager['max_spare']}"
    line.append(escape_line(f"of {totals['workers']} workers, {limits}"))
    if manager["overcommit"]:
        line.append("  OVERCOMMIT", "bold red")
    return line


def _rates(report: Report, rates: Rates) -> Text:
    totals = report["totals"]
    line = Text("", no_wrap=True, end="")
    parts = (
        (f"{rates.requests:,.1f} requests/s", "bold"),
        (f"{rates.errors:,.1f} errors/s", "bold red" if rates.errors else ""),
        (f"{rates.cpu:.2f} CPU", ""),
        (f"{totals['waiting']:,} waiting", "bold yellow" if totals["waiting"] else ""),
        (f"{totals['in_flight']:,} in flight", ""),
        (f"{amount(round(rates.bytes_in))}/s in", ""),
        (f"{amount(round(rates.bytes_out))}/s out", ""),
    )
    for number, (part, style) in enumerate(parts):
        line.append("  " if number else "")
        line.append(escape_line(part), style)
    return line


def _times(found: Quantiles, width: int) -> Text:
    """Quantiles of the times of requests. A narrow terminal has no room for p90."""
    shown = (0, 1, 2) if width >= WIDE else (0, 2)
    parts = []
    for name, quantiles in found.times.items():
        times = "/".join(latency(quantiles[place]) for place in shown)
        parts.append(f"{name.replace('_', ' ')} {times}")
    title = "/".join(("p50", "p90", "p99")[place] for place in shown)
    within = "" if found.within_s is None else f" in {duration(found.within_s)}"
    return _text(f"{title}{within}: " + "  ".join(parts))


# --- tables ----------------------------------------------------------------------------------------------


def _sorted(workers: Iterable[Report], rates: Rates, view: View) -> list[Report]:
    """The largest first, but by slot the smallest. Equal ones stay in the order of their slots."""
    orders: dict[str, Callable[[Report], float]] = {
        "slot": lambda worker: -worker["slot"],
        "age": lambda worker: worker["age_s"],
        "requests": lambda worker: worker["requests"],
        "busy": lambda worker: rates.of(worker).busy,
        "cpu": lambda worker: rates.of(worker).cpu,
        "memory": lambda worker: worker["rss"] or 0,
    }
    order = orders[view.sort]
    sign = 1 if view.reverse else -1
    return sorted(workers, key=lambda worker: (sign * order(worker), worker["slot"]))


def _table(
    workers: Sequence[Report], rates: Rates, view: View, width: int, room: int
) -> tuple[list[Text], str]:
    """A heading and as many workers as there is room for, the selected one among them; and which part of
    them that is, if not all.
    """
    if room < 2:
        return [], ""
    columns = [column for column in COLUMNS if width >= column.least]
    heading = Text("", "bold", no_wrap=True, end="")
    for column in columns:
        style = "underline" if column.sort == view.sort else ""
        heading.append(" " * (column.width - len(column.title)))
        heading.append(column.title, style)
    heading.append("  REQUEST")
    rows = room - 1
    pids = [worker["pid"] for worker in workers]
    place = pids.index(view.selected) if view.selected in pids else 0
    first = max(0, min(place - rows // 2, len(workers) - rows))
    lines = [heading]
    for worker in workers[first : first + rows]:
        lines.append(_row(worker, rates.of(worker), columns, is_selected=worker["pid"] == view.selected))
    part = f", {first + 1} to {first + rows} of {len(workers)}" if len(workers) > rows else ""
    return lines, part


def _row(worker: Report, rates: WorkerRates, columns: Sequence[_Column], *, is_selected: bool) -> Text:
    line = Text("", "reverse" if is_selected else "", no_wrap=True, end="")
    for column in columns:
        style = STYLES.get(worker["state"], "") if column.title == "STATE" else ""
        cell = escape_line(column.cell(worker, rates))[: column.width - 1]
        line.append(" " * (column.width - len(cell)))
        line.append(cell, style)
    line.append(f"  {escape_line(request(worker))}")
    return line


def _requests(workers: Sequence[Report], room: int) -> list[Text]:
    """The requests in flight, the oldest first."""
    now = [worker for worker in workers if worker["request"] is not None]
    if not now or room < 2:
        return []
    now.sort(key=lambda worker: -worker["request"]["age_s"])
    heading = _text(f"{'FOR':>8}{'PID':>9}  {'CLIENT':<16}{'PHASE':<12}REQUESTS IN FLIGHT", "bold")
    lines = [heading]
    for worker in now[: room - 1]:
        one = worker["request"]
        where = f"{one['client'] or '-':<16}{one['phase'] or '-':<12}"
        what = " ".join(filter(None, (one["method"], one["path"])))
        style = "bold red" if worker["state"] == "stuck" else ""
        lines.append(_text(f"{duration(one['age_s']):>8}{worker['pid'] or '?':>9}  {where}{what}", style))
    if len(now) > room - 1:
        heading.append(f" (the oldest {room - 1} of {len(now)})", "not bold")
    return lines
