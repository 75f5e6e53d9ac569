"""Servers side by side: all running at the same time, loaded one after the other, round after round.

Always: a server that does not start, or fails under load, drops out with its reason, and the others go on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

from bench.findings import Setting
from bench.servers import Recipe, Server

REASON = 120
"""How many characters of a reason are shown, the last ones."""

T = TypeVar("T")
Load = Callable[[Server, int], T]
"""Loads a server, in the round of that number, and returns the result."""


class Rounds(Generic[T]):
    """The results of each load of each server, in order of the rounds; and why a server is missing."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self._runs: dict[tuple[str, str], list[T]] = {}

    def add(self, server: str, load: str, run: T) -> None:
        self._runs.setdefault((server, load), []).append(run)

    def drop(self, server: str, reason: Exception) -> None:
        """Half of the rounds would have no counterpart, so all of that server's are dropped."""
        self.missing[server] = " ".join(str(reason).split())[-REASON:]
        self._runs = {key: runs for key, runs in self._runs.items() if key[0] != server}

    def of(self, load: str) -> dict[str, list[T]]:
        """By server."""
        return {server: runs for (server, what), runs in self._runs.items() if what == load}

    def median(self, server: Recipe, load: str, value: Callable[[T], float]) -> float | None:
        runs = self._runs.get((server.name, load))
        return statistics.median(map(value, runs)) if runs else None

    def ratio(self, ours: Recipe, theirs: Recipe, load: str, value: Callable[[T], float]) -> float | None:
        """The median of the ratios in each round: two runs of one round had the same conditions."""
        first, second = (self._runs.get((server.name, load)) for server in (ours, theirs))
        if not first or not second:
            return None
        return statistics.median(value(a) / value(b) for a, b in zip(first, second, strict=True))

    def why(self, *servers: Recipe) -> str:
        """The note of a figure that some of these have no part in."""
        return "; ".join(self.missing[server.name] for server in servers if server.name in self.missing)


def measure(
    recipes: Sequence[Recipe], loads: Mapping[str, Load[T]], rounds: int, setting: Setting
) -> Rounds[T]:
    """Loads each server in each round, and never one of them twice in a row."""
    found: Rounds[T] = Rounds()
    with ExitStack() as stack:
        running = []
        for recipe in recipes:
            try:
                server = stack.enter_context(Server(recipe, setting.cores.server))
            except (RuntimeError, OSError) as error:
                found.drop(recipe.name, error)
                setting.log(f"{recipe.name} is missing: {found.missing[recipe.name]}")
            else:
                server.pause()
                running.append(server)
        for number in range(rounds):
            for name, load in loads.items():
                setting.log(f"round {number + 1} of {rounds}: {name}")
                # Each round begins with another server, so that none always follows the same one.
                first = number % max(1, len(running))
                for server in running[first:] + running[:first]:
                    if not _loaded(found, server, name, load, number):
                        setting.log(f"{server.name} drops out: {found.missing[server.name]}")
                        running.remove(server)
    return found


def _loaded(found: Rounds[T], server: Server, name: str, load: Load[T], number: int) -> bool:
    server.resume()
    try:
        found.add(server.name, name, load(server, number))
    except (RuntimeError, OSError) as error:
        found.drop(server.name, error)
        return False
    finally:
        server.pause()
    return True
