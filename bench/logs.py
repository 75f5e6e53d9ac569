"""What the access log costs: hello by WSGI with a log to a file, beside the same server without one.

Each server is compared with itself: CPU time of a request without a log by that with one, in the same round.
Then, in windows, where that time goes: with no line for any path, with lines thrown away, and to a file.
"""

from __future__ import annotations

from bench import windows
from bench.findings import Figure, Findings, Setting
from bench.load import KEEP_ALIVE, by_wrk
from bench.recipes import LOG_STEPS, LOGGED, WSGI_PREFORK
from bench.rounds import measure
from bench.runs import compare, cpu, details, table
from bench.servers import Recipe

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
    figures += [_step(recipe, setting) for recipe in LOG_STEPS]
    bare = LOGGED[0][0]
    shown = table("Access log, one worker on one core", rounds, load, recipes, bare, "requests")
    return Findings(figures, [shown], details(rounds, [load]))


def _step(recipe: Recipe, setting: Setting) -> Figure:
    cost = windows.measure(recipe, WSGI_PREFORK, setting)
    note = f"{cost.ns:.0f} ± {cost.error_ns:.0f} ns of {cost.without_ns:.0f}"
    return Figure(f"access log, {recipe.name}", cost.share * 100, "% CPU", note=note)
