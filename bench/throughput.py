"""Requests per second and CPU time per request, of all servers side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.load import MODES, Mode, Run, drive
from bench.machine import Cores
from bench.servers import Recipe, Server

Runs = dict[tuple[str, str], list[Run]]
"""By name of the server and name of the mode, in order of the rounds."""


def measure(
    recipes: Sequence[Recipe], rounds: int, seconds: int, cores: Cores, say: Callable[[str], None]
) -> Runs:
    """Loads each server in each round, and never one of them twice in a row."""
    runs: Runs = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(recipe, cores.server)) for recipe in recipes]
        for number in range(rounds):
            # Each round begins with another one, so that nobody always follows the same neighbour.
            first = number % len(servers)
            for mode in MODES:
                say(f"round {number + 1} of {rounds}: {mode.name}")
                for server in servers[first:] + servers[:first]:
                    run = drive(server, mode, seconds, cores.client)
                    runs.setdefault((server.name, mode.name), []).append(run)
    return runs


def median(runs: Sequence[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(map(of, runs))


def ratio(runs: Runs, mode: Mode, recipe: Recipe, reference: Recipe, of: Callable[[Run], float]) -> float:
    """The median of the ratios in each round: two runs of one round had the same weather."""
    ours, theirs = runs[recipe.name, mode.name], runs[reference.name, mode.name]
    return statistics.median(of(our) / of(their) for our, their in zip(ours, theirs, strict=True))
