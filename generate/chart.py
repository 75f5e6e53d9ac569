"""Charts of a simulated pool as SVG: what is busy, what idles on top of it, what starts and what waits.

Colours are readable on light and on dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from generate import simulation
from generate.simulation import Moment

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 70, 40

LAYERS: tuple[tuple[str, str, Callable[[Moment], int]], ...] = (
    ("c2", "starting", lambda moment: moment.workers),
    ("c1", "spare", lambda moment: moment.active + moment.spare),
    ("c0", "active", lambda moment: moment.active),
)
"""From the back to the front: each covers what is below."""

STYLE = """\
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.end { text-anchor: end }
.middle { text-anchor: middle }
line { stroke: #8b949e; stroke-opacity: 0.3 }
.c0 { fill: #2e86c1 } .c1 { fill: #7fb3d5 } .c2 { fill: #d5b37f }
.waiting { fill: none; stroke: #c0563b; stroke-width: 2 }
.key { fill: #c0563b }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.small { fill: #9198a1 }
.c0 { fill: #3f9bd8 } .c1 { fill: #5d7f98 } .c2 { fill: #98805d }
.waiting { stroke: #e07a5f }
.key { fill: #e07a5f }
}
</style>"""


def burst() -> str:
    about = "30 requests of 1 s each between 5 and 15 ms; min_spare 5, max_spare 10. Time in milliseconds"
    return draw("A burst: workers, and requests that wait", about, simulation.burst(), 60.0, 1000.0)


def wave() -> str:
    about = "requests of 2 s: 1 each second, then up to 15 and back, until 40 s. Time in seconds"
    return draw("A wave: workers, and requests that wait", about, simulation.wave(), 50.0, 1.0)


def draw(title: str, about: str, moments: Sequence[Moment], until: float, per_s: float) -> str:
    """The whole file. The axis ends at `until`, in units of which a second has `per_s`."""
    most = max(moment.workers for moment in moments)
    top = 5 * math.ceil(most / 5)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + wide * value / until

    def y(count: float) -> float:
        return TOP + tall * (1 - count / top)

    def steps(count: Callable[[Moment], int]) -> str:
        """A line that is level from each moment to the next."""
        changes = [
            moment
            for before, moment in zip([None, *moments], moments, strict=False)
            if before is None or count(before) != count(moment)
        ]
        ends = [*(moment.at_s * per_s for moment in changes[1:]), until]
        return " ".join(
            f"{x(moment.at_s * per_s):.1f},{y(count(moment)):.1f} {x(end):.1f},{y(count(moment)):.1f}"
            for moment, end in zip(changes, ends, strict=True)
        )

    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        STYLE,
        _text(16, 24, title, "title"),
        _text(16, 42, about, "small"),
    ]
    for number, (colour, name) in enumerate(
        (*((one[0], one[1]) for one in LAYERS[::-1]), ("key", "waiting"))
    ):
        lines.append(f'<rect class="{colour}" x="{LEFT + number * 80}" y="52" width="10" height="10"/>')
        lines.append(_text(LEFT + number * 80 + 15, 61, name, "small"))
    for colour, _, count in LAYERS:
        floor = f"{x(until):.1f},{y(0):.1f} {x(moments[0].at_s * per_s):.1f},{y(0):.1f}"
        lines.append(f'<polygon class="{colour}" points="{steps(count)} {floor}"/>')
    lines.append(f'<polyline class="waiting" points="{steps(lambda moment: moment.waiting)}"/>')
    for number in range(0, top + 1, 5 if top <= 40 else 10):
        lines.append(f'<line x1="{LEFT}" y1="{y(number):.1f}" x2="{WIDTH - RIGHT}" y2="{y(number):.1f}"/>')
        lines.append(_text(LEFT - 8, y(number) + 4, str(number), "small end"))
    for value in range(0, round(until) + 1, 10):
        lines.append(_text(x(value), HEIGHT - BOTTOM + 18, str(value), "small middle"))
    return "\n".join([*lines, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
