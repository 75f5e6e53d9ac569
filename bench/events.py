"""Prefork's own events beside nginx's `return 200`: the least that a request can cost in Python."""

from __future__ import annotations

from bench.findings import Figure, Findings, Setting
from bench.load import CLOSE, KEEP_ALIVE, PIPELINED, by_wrk
from bench.recipes import DONE, NGINX, POSTED, WORKER
from bench.rounds import measure
from bench.runs import compare, cpu, details, rate, table

MODES = (KEEP_ALIVE, PIPELINED, CLOSE)
RECIPES = (NGINX, DONE, POSTED, WORKER)


def run(setting: Setting) -> Findings:
    effort = setting.effort
    rounds = measure(RECIPES, by_wrk(MODES, effort.run_s, setting.cores.client), effort.rounds, setting)
    figures: list[Figure] = []
    for recipe, what in ((DONE, "done()"), (POSTED, 'post "DONE"'), (WORKER, "pool of one")):
        ours = (rounds, KEEP_ALIVE.name, recipe, NGINX)
        own = recipe is DONE
        figures += [
            compare(f"events, {what}: requests/s", *ours, rate, (">=", 0.90) if own else None),
            compare(f"events, {what}: CPU per request", *ours, cpu, ("<=", 1.15) if own else None),
        ]
    figures += [
        compare(f"events, {mode.name}: CPU per request", rounds, mode.name, DONE, NGINX, cpu)
        for mode in (PIPELINED, CLOSE)
    ]
    tables = [table(f"Events, {mode.name}", rounds, mode.name, RECIPES, NGINX, "requests") for mode in MODES]
    return Findings(figures, tables, details(rounds, [mode.name for mode in MODES]))
