"""The tables on standard output, as Markdown, and the files with everything behind them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.findings import Figure, Findings

TOP = Path(__file__).parents[1]
RESULTS = TOP / "bench" / "results"


def show(found: Mapping[str, Findings], about: Mapping[str, Any]) -> str:
    """What it ran on, the medians of each part, and last the figures beside their targets."""
    machine = about["machine"]
    blocks = [
        f"{machine['cores']} cores of {machine['cpu']}, {machine['system']}, load {machine['load_average']}: "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    ]
    for findings in found.values():
        for table in findings.tables:
            blocks += [f"### {table.title}", _grid(table.columns, table.rows), table.note]
    figures = [figure for findings in found.values() for figure in findings.figures]
    columns = ("figure", "value", "", "target", "holds", "note")
    blocks += ["### Figures", _grid(columns, [_cells(figure) for figure in figures])]
    return "\n\n".join(filter(None, blocks)) + "\n"


def write(found: Mapping[str, Findings], about: Mapping[str, Any]) -> list[Path]:
    """Everything as JSON, named after the moment, and the pictures; returns where."""
    now = datetime.now(UTC)
    figures = [figure for findings in found.values() for figure in findings.figures]
    content = {
        "date": now.isoformat(timespec="seconds"),
        **about,
        "figures": [{**dataclasses.asdict(figure), "holds": figure.holds} for figure in figures],
        "parts": {name: findings.details for name, findings in found.items()},
    }
    files = {
        RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}.json": json.dumps(_rounded(content), indent=1) + "\n",
        **{TOP / name: text for findings in found.values() for name, text in findings.pictures.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    for file, text in files.items():
        file.write_text(text)
    return list(files)


def _cells(figure: Figure) -> tuple[str, ...]:
    value = "missing" if figure.value is None else f"{figure.value:.2f}"
    target = "" if figure.target is None else f"{figure.target[0]} {figure.target[1]:g}"
    holds = {None: "", True: "yes", False: "**no**"}[figure.holds]
    return (figure.name, value, figure.unit, target, holds, figure.note)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns as wide as what is in them. Names and notes stand left, numbers right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    left = [not index or name == "note" for index, name in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(cells, widths, left, strict=True)
        )
        return f"| {' | '.join(aligned)} |"

    rule = (
        "-" * width if to_left else "-" * (width - 1) + ":"
        for width, to_left in zip(widths, left, strict=True)
    )
    return "\n".join([line(columns), f"| {' | '.join(rule)} |", *map(line, rows)])


def _rounded(value: object) -> object:
    """Four digits behind the point: more would be noise."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
