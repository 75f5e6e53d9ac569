"""The live page as HTML: a snapshot of the pool in the template `page.html`, which is read once.

Always: each value is escaped, and the page is complete without its script. The script shows
the same figures in the same words from then on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TypeAlias

from prefork.admin.snapshot import EMPTY, GARBLED, MARKS, Current, Decision, Snapshot
from prefork.logs.escaping import escape_line
from prefork.status.table import duration

Number: TypeAlias = "float | int | None"

ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
NONE = "\N{EN DASH}"
SIZES = ((16, "few"), (64, "some"), (320, "many"), (640, "most"))
"""How large the slots are drawn, by how many there are at most."""
HUES = 6
"""Generations have this many colors, one after the other."""
STATE_OF = {mark: state for state, mark in MARKS.items()} | {EMPTY: "empty", GARBLED: "garbled"}


def policy(nonce: str) -> str:
    """The Content-Security-Policy of a page: its own style and script, and the stream that it reads. Nothing
    makes HTML of a text (Trusted Types).
    """
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


class Template:
    """Reads `page.html` when it is made."""

    def __init__(self) -> None:
        text = files("prefork.admin").joinpath("page.html").read_text(encoding="utf-8")
        first, *rest = text.split("{{")
        self._first = first
        self._rest = [tuple(part.split("}}", 1)) for part in rest]

    def render(self, snapshot: Snapshot, nonce: str) -> bytes:
        """`nonce` is that of `policy()`."""
        filled = _fill(snapshot) | {"nonce": nonce}
        values = _values(snapshot)
        parts = [self._first]
        for name, text in self._rest:
            unit, _, value = name.partition(" ")
            parts += [_value(unit, value, values.get(value)) if value else filled[name], text]
        return "".join(parts).encode()


def _fill(snapshot: Snapshot) -> dict[str, str]:
    """What stands in the template without a unit."""
    values, count = snapshot.values, cells(snapshot)
    return {
        "title": escape(f"{_count(values['active'])} of {len(snapshot.who)} active \N{EN DASH} prefork"),
        "name": escape(snapshot.name),
        "manager": escape(str(snapshot.manager)),
        "places": escape(", ".join(snapshot.places) or "not listening"),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "size": next((size for most, size in SIZES if count <= most), "crowd"),
        "slots": "".join(_slot(snapshot, slot) for slot in range(count)),
        "generations": _generations(snapshot),
        "requests": "".join(_request(snapshot, request) for request in snapshot.requests),
        "none": " hidden" if snapshot.requests else "",
        "garbled": "" if GARBLED in snapshot.slots else " hidden",
        "ends": ", the pool ends" if snapshot.facts["stopping"] else "",
        "undecided": " hidden" if snapshot.decisions else "",
        "decisions": "".join(_decision(snapshot, one) for one in reversed(snapshot.decisions)),
        "config": "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in snapshot.config
        ),
    }


def _values(snapshot: Snapshot) -> dict[str, Number]:
    memory, workers = snapshot.values["memory"], len(snapshot.who)
    return {**snapshot.values, "memory_each": memory / workers if memory is not None and workers else None}


def escape(text: str) -> str:
    return escape_line(text).translate(ESCAPES)


# --- parts -----------------------------------------------------------------------------------------------


def cells(snapshot: Snapshot) -> int:
    """How many slots are drawn: those in use, and some of those that the pool may still use."""
    used = len(snapshot.slots)
    return max(used, min(snapshot.facts["max_clients"], max(64, 4 * used)))


def _slot(snapshot: Snapshot, slot: int) -> str:
    mark = snapshot.slots[slot] if slot < len(snapshot.slots) else EMPTY
    if mark == EMPTY:
        return '<i class="w empty"></i>'
    state, (_, generation) = STATE_OF.get(mark, "spare"), snapshot.who[slot]
    level = f" l{mark}" if mark in "12345678" else ""
    return f'<i class="w {state} g{generation % HUES}{level}"></i>'


def _generations(snapshot: Snapshot) -> str:
    """The generations of the workers, if there are several."""
    found = Counter(generation for _, generation in snapshot.who.values())
    if len(found) < 2:
        return ""
    return "".join(
        f'<i class="w active g{generation % HUES}"></i><span>{count} of generation {generation}</span>'
        for generation, count in sorted(found.items())
    )


def _request(snapshot: Snapshot, one: Current) -> str:
    pid, _ = snapshot.who[one.slot]
    age = f"{one.age_s:.2f}s" if one.age_s < 10 else duration(one.age_s)
    path = escape(one.path) or "(hidden)"
    return (
        f'<tr><td class="n">{age}</td><td>{escape(one.method)}</td><td class="path">{path}</td>'
        f'<td>{escape(one.phase)}</td><td>{escape(one.client)}</td><td class="n">{pid}</td></tr>'
    )


def _decision(snapshot: Snapshot, one: Decision) -> str:
    change = f"+{one.change}" if one.change > 0 else f"\N{MINUS SIGN}{-one.change}" if one.change else "·"
    down = ' class="down"' if one.change < 0 else ""
    age = duration(max(0, round((snapshot.values["t"] or 0.0) - one.t)))
    return f"<li><b{down}>{change}</b><span>{escape(one.why)}</span><small>{age}</small></li>"


# --- values as text --------------------------------------------------------------------------------------


def _value(unit: str, name: str, value: Number) -> str:
    text = NONE if value is None else escape(UNITS[unit](value))
    return f'<b data-value="{name}" data-unit="{unit}">{text}</b>'


def _number(value: float, digits: int) -> str:
    """With at most so many digits behind the point."""
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _count(value: Number) -> str:
    return _number(value or 0, 0)


def _rate(value: float) -> str:
    return _number(value, 1 if value < 10 else 0)


def _ms(value: float) -> str:
    if value >= 1000:
        return f"{_number(value / 1000, 2)} s"
    if 0 < value < 0.1:
        return f"{_number(1000 * value, 1 if value < 0.01 else 0)} \N{MICRO SIGN}s"
    return f"{_number(value, 2 if value < 10 else 1 if value < 100 else 0)} ms"


def _bytes(value: float) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    unit = 0
    while value >= 1024 and unit < len(units) - 1:
        value, unit = value / 1024, unit + 1
    return f"{_number(value, 1 if unit and value < 100 else 0)} {units[unit]}"


UNITS: Mapping[str, Callable[[float], str]] = {
    "count": _count,
    "rate": _rate,
    "ms": _ms,
    "bytes": _bytes,
    "duration": duration,
    "flag": lambda value: "yes" if value else "no",
}
