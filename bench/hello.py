"""The same response by WSGI and by ASGI: one worker, 64 keep-alive connections."""

from __future__ import annotations

from collections.abc import Sequence

from bench.findings import Findings, Setting
from bench.load import KEEP_ALIVE, by_wrk
from bench.recipes import (
    ASGI_FASTPYSGI,
    ASGI_GRANIAN,
    ASGI_PREFORK,
    ASGI_UVICORN,
    ASGI_UVLOOP,
    NGINX,
    WSGI_FASTPYSGI,
    WSGI_GRANIAN,
    WSGI_GUNICORN,
    WSGI_PREFORK,
)
from bench.rounds import measure
from bench.runs import compare, details, rate, table
from bench.servers import Recipe


def run_wsgi(setting: Setting) -> Findings:
    recipes = (NGINX, WSGI_PREFORK, WSGI_FASTPYSGI, WSGI_GRANIAN, WSGI_GUNICORN)
    return _run("WSGI hello", recipes, WSGI_FASTPYSGI, 1.1, setting)


def run_asgi(setting: Setting) -> Findings:
    recipes = (NGINX, ASGI_PREFORK, ASGI_UVLOOP, ASGI_FASTPYSGI, ASGI_UVICORN, ASGI_GRANIAN)
    return _run("ASGI hello", recipes, ASGI_FASTPYSGI, 1.4, setting)


def _run(title: str, recipes: Sequence[Recipe], rival: Recipe, target: float, setting: Setting) -> Findings:
    """The second recipe is the one whose figure has a target: so much of the rival's."""
    effort, load, ours = setting.effort, KEEP_ALIVE.name, recipes[1]
    rounds = measure(
        recipes, by_wrk((KEEP_ALIVE,), effort.run_s, setting.cores.client), effort.rounds, setting
    )
    figures = [compare(f"{title}: requests/s", rounds, load, ours, rival, rate, (">=", target))]
    shown = table(f"{title}, one worker on one core", rounds, load, recipes, NGINX, "requests")
    return Findings(figures, [shown], details(rounds, [load]))
