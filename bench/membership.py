"""What it costs on a request's way to be a worker of a pool.

First the slot of the scoreboard that is written with each request; then, on top of it, the hand-off: the
guard thread that ticks while requests are served, and the exit of the central queue in the epoll set. Each
process joins a pool of which it is the only one that serves, or a part of it, and differs by nothing else.
"""

from __future__ import annotations

import dataclasses

from bench.findings import Figure, Findings, Setting
from bench.servers import Recipe, app
from bench.windows import measure

ALONE = Recipe("on its own", app("member", "nothing"))
SLOT = Recipe("with a slot of the scoreboard", app("member", "slot"))
MEMBER = Recipe("a worker of a pool", app("member", "all"))


def run(setting: Setting) -> Findings:
    figures, details = [], {}
    for name, dearer, bare, most in (("scoreboard", SLOT, ALONE, 1.0), ("hand-off", MEMBER, SLOT, 2.0)):
        cost = measure(dearer, bare, setting)
        error = f"± {cost.error_share * 100:.2f} %: {cost.ns:.0f} ± {cost.error_ns:.0f} ns"
        note = f"{error} of {cost.without_ns:.0f}"
        figures.append(Figure(f"hello, {name}", cost.share * 100, "% CPU", ("<", most), note))
        details[name] = dataclasses.asdict(cost)
    return Findings(figures, details=details)
