"""What the access log costs: hello by WSGI with a log to a file, beside the same server without one.

Each server is compared with itself: CPU time of a request without a log by that with one, in the same round.
"""

from __future__ import annotations

from bench.findings import Findings, Setting
from bench.load import KEEP_ALIVE, by_wrk
from bench.recipes import LOGGED
from bench.rounds import measure
from bench.runs import compare, cpu, details, table

TARGETS = {"prefork, WSGI, combined": 0.97, "prefork, WSGI, json": 0.95}


def run(setting: Setting) -> Findings:
    effort, load = setting.effort, KEEP_ALIVE.name
    recipes = [recipe for bare, logged in LOGGED for recipe in (bare, *logged)]
    rounds = measure(
        recipes, by_wrk((KEEP_ALIVE,), effort.run_s, setting.cores.client), effort.rounds, setting
    )
    figures = []
    for bare, logged in LOGGED:
        for recipe in logged:
            target = TARGETS.get(recipe.name)
            # The CPU time of the bare one by that of the other: how much of its rate is left.
            name = f"access log: {recipe.name}, CPU per request"
            figures.append(
                compare(name, rounds, load, bare, recipe, cpu, None if target is None else (">=", target))
            )
    bare = LOGGED[0][0]
    shown = table("Access log, one worker on one core", rounds, load, recipes, bare, "requests")
    return Findings(figures, [shown], details(rounds, [load]))
