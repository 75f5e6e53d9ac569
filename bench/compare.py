"""This checkout beside another one: CPU time and instructions of a request, and memory.

Each checkout is measured with its own interpreter, package and bench/apps. The other one must be built for
release, as this one is, and may be older: what it cannot do is missing. Targets are for a change that should
cost nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import instructions, memory, windows
from bench.closed_loop import HELLO, Talk
from bench.findings import Figure, Findings, Setting
from bench.recipes import ASGI, WSGI, Command
from bench.report import TOP
from bench.rounds import REASON
from bench.servers import Recipe
from bench.websocket import TALK

SPEED, MEMORY = (">=", 0.99), ("<=", 1.01)


@dataclass(frozen=True)
class Checkout:
    """One of the two."""

    name: str
    top: Path

    def recipe(self, *arguments: str) -> Recipe:
        """A Python module of that checkout. {port} in the arguments is the server's."""
        return Recipe(self.name, self._command(*arguments))

    def serve(self, target: str, *options: str) -> Recipe:
        package = tomllib.loads((self.top / "pyproject.toml").read_text())["project"]["name"]
        common = ("--log-level", "warning", "--bind", "127.0.0.1:{port}")
        return self.recipe(package, "serve", target, *common, *options)

    def app(self, name: str, *arguments: str) -> Recipe:
        return self.recipe(f"bench.apps.{name}", "{port}", *arguments)

    def _command(self, *arguments: str) -> Command:
        python = str(self.top / ".venv" / "bin" / "python")

        def make(port: int, _directory: Path) -> list[str]:
            filled = (argument.format(port=port) for argument in arguments)
            return ["env", f"--chdir={self.top}", python, "-m", *filled]

        return make


@dataclass(frozen=True)
class Kind:
    """What both do. valgrind knows too few system calls for a pool: there it serves without one."""

    name: str
    talk: Talk
    pooled: Callable[[Checkout], Recipe]
    alone: Callable[[Checkout], Recipe]


def _hosted(name: str, talk: Talk, target: str) -> Kind:
    return Kind(
        name,
        talk,
        lambda checkout: checkout.serve(target, "--workers", "1"),
        lambda checkout: checkout.serve(target, "--start", "0"),
    )


KINDS = (
    Kind(
        "events",
        HELLO,
        lambda checkout: checkout.app("pool", "done", "1"),
        lambda checkout: checkout.app("single", "done"),
    ),
    _hosted("WSGI", HELLO, WSGI),
    _hosted("ASGI", HELLO, ASGI),
    _hosted("WebSocket echo", TALK, ASGI),
)


def run(other: Path, setting: Setting) -> Findings:
    pair = (Checkout("this checkout", TOP), Checkout("the other", other))
    figures: list[Figure] = []
    for kind in KINDS:
        figures.append(_speed(kind, pair, setting))
        figures += _instructions(kind, pair, setting)
    figures += _memory(pair, setting)
    return Findings(figures)


def _speed(kind: Kind, pair: tuple[Checkout, Checkout], setting: Setting) -> Figure:
    ours, theirs = (kind.pooled(checkout) for checkout in pair)
    name = f"{kind.name}: requests per CPU second"
    try:
        cost = windows.measure(ours, theirs, setting, kind.talk)
    except (RuntimeError, OSError) as error:
        return _missing(name, error)
    note = f"± {cost.error_share:.2%}: {cost.without_ns + cost.ns:.0f} ns, the other {cost.without_ns:.0f}"
    return Figure(name, 1 / (1 + cost.share), "of the other", SPEED, note)


def _instructions(kind: Kind, pair: tuple[Checkout, Checkout], setting: Setting) -> list[Figure]:
    setting.log(f"{kind.name}: instructions")
    name = f"{kind.name}: instructions of a request"
    try:
        ours, theirs = (instructions.count(kind.alone(each), kind.talk, setting) for each in pair)
    except (RuntimeError, OSError) as error:
        return [_missing(name, error)]
    return [
        Figure(
            f"{name}, {load}",
            ours[load] / theirs[load],
            "of the other",
            note=f"{ours[load]:,.0f}, the other {theirs[load]:,.0f}",
        )
        for load in ours
    ]


def _memory(pair: tuple[Checkout, Checkout], setting: Setting) -> list[Figure]:
    setting.log("memory")

    def pool(checkout: Checkout) -> Callable[[int], Recipe]:
        return lambda workers: checkout.serve("examples/synopsis.py", "--workers", str(workers))

    def worker(checkout: Checkout) -> float:
        return memory.measure_worker(setting.cores, pool(checkout))

    def connection(checkout: Checkout) -> float:
        return memory.measure_connection(setting.cores, checkout.app("pool", "done", "1"))

    measures = {
        "added PSS of an idle worker": worker,
        f"memory of an idle connection, {memory.CONNECTIONS:,} held": connection,
    }
    figures = []
    for name, measure in measures.items():
        try:
            ours, theirs = (measure(checkout) / memory.KIB for checkout in pair)
        except (RuntimeError, OSError) as error:
            figures.append(_missing(name, error))
        else:
            note = f"{ours:,.2f} KiB, the other {theirs:,.2f}"
            figures.append(Figure(name, ours / theirs, "of the other", MEMORY, note))
    return figures


def _missing(name: str, error: Exception) -> Figure:
    return Figure(name, None, "", note=" ".join(str(error).split())[-REASON:])
