"""A bar chart as SVG, with its numbers, in colours that are readable on light and on dark pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, MARGIN = 760, 16
LABEL, BAR, GAP = 214, 13, 14
NUMBER = 52
TOP = 82
GRID_STEPS = (1, 2, 5)
COLOURS = (("#7fb3d5", "#5d93b8"), ("#2e86c1", "#3f9bd8"), ("#c0563b", "#e07a5f"))
"""Of the first, second and third bar of each row: on light pages and on dark ones."""


@dataclass(frozen=True)
class Row:
    """One server: its name and a number for each bar."""

    name: str
    values: dict[str, float]


def draw(title: str, about: str, rows: list[Row]) -> str:
    """The whole file. A row's first line is its name up to the comma, the second one what follows."""
    largest = max((value for row in rows for value in row.values.values()), default=1.0)
    step = _step(largest)
    limit = step * math.ceil(largest / step)
    per_ms = (WIDTH - 2 * MARGIN - LABEL - NUMBER) / limit
    left, tall = MARGIN + LABEL, len(COLOURS) * BAR + GAP
    bottom = TOP + len(rows) * tall
    lines = [_text(MARGIN, 24, title, "title"), _text(MARGIN, 42, about, "small"), *_legend(left, rows)]
    for number in range(round(limit / step) + 1):
        x = left + number * step * per_ms
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom - 6}"/>')
        lines.append(_text(x, bottom + 8, f"{number * step:g}", "small middle"))
    for number, row in enumerate(rows):
        lines += _bars(row, TOP + number * tall, left, per_ms)
    return "\n".join([_head(bottom + 20, title), *lines, "</svg>", ""])


def _bars(row: Row, top: float, left: float, per_ms: float) -> list[str]:
    name, _, more = row.name.partition(", ")
    middle = top + len(row.values) * BAR / 2
    lines = [_text(left - 10, middle + (-2 if more else 4), name, "name end")]
    if more:
        lines.append(_text(left - 10, middle + 12, more, "small end"))
    for number, value in enumerate(row.values.values()):
        y, length = top + number * BAR, max(1.0, value * per_ms)
        lines.append(
            f'<rect class="c{number}" x="{left}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 2}"/>'
        )
        lines.append(_text(left + length + 5, y + BAR - 3.5, f"{value:.1f}", "number"))
    return lines


def _legend(left: float, rows: list[Row]) -> list[str]:
    lines = []
    for number, name in enumerate(rows[0].values if rows else ()):
        x = left + number * 62
        lines.append(f'<rect class="c{number}" x="{x}" y="54" width="10" height="10"/>')
        lines.append(_text(x + 15, 63, name, "small"))
    return lines


def _step(largest: float) -> float:
    """Of the grid: 1, 2 or 5 of a power of ten, for at most eight lines."""
    power = 10.0 ** math.floor(math.log10(largest / 8))
    return next(power * step for step in (*GRID_STEPS, 10) if largest <= 8 * power * step)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _head(height: float, title: str) -> str:
    def colours(side: int) -> str:
        return " ".join(f".c{number} {{ fill: {pair[side]} }}" for number, pair in enumerate(COLOURS))

    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(title)}</title>
<style>
text {{ font: 12px system-ui, sans-serif; fill: #24292f }}
.title {{ font-size: 15px; font-weight: 600 }}
.small {{ font-size: 11px; fill: #59636e }}
.number {{ font-size: 10.5px }}
.end {{ text-anchor: end }}
.middle {{ text-anchor: middle }}
line {{ stroke: #8b949e; stroke-opacity: 0.3 }}
{colours(0)}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }}
.small {{ fill: #9198a1 }}
{colours(1)}
}}
</style>"""
