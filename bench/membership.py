"""What it costs on a request's way to be a worker of a pool.

The two processes differ by all that a pool adds to a worker and by nothing else: the slot of the scoreboard
that is written with each request, the guard thread that ticks each millisecond while requests are served, and
the exit of the central queue in the epoll set. One process joins a pool, of which it is the only one that
serves; the other does not. So it is an upper bound of what the hand-off alone costs.
"""

from __future__ import annotations

import dataclasses

from bench.findings import Figure, Findings, Setting
from bench.servers import Recipe, app
from bench.windows import measure

MEMBER = Recipe("a worker of a pool", app("member", "yes"))
ALONE = Recipe("on its own", app("member", "no"))


def find(setting: Setting) -> Findings:
    cost = measure(MEMBER, ALONE, setting)
    note = (
        f"± {cost.error_share * 100:.2f} %: {cost.ns:.0f} ± {cost.error_ns:.0f} ns of {cost.without_ns:.0f}"
    )
    name = "hello, hand-off and scoreboard on the request path"
    return Findings(
        [Figure(name, cost.share * 100, "% CPU", ("<", 2.0), note)], details=dataclasses.asdict(cost)
    )
