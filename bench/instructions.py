"""Instructions of a request in user space, counted by callgrind: a busy machine does not change them.

A server serves a few requests and then many. The difference in instructions is divided by the difference in
requests, so that what does not belong to a request falls out. There are two loads: one request at a time,
which costs a turn of the server's loop each, and 64 at once, which share a turn.

What the kernel does is not counted: two servers that differ by a system call do not differ here.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.callgrind import counted, counter
from bench.closed_loop import HELLO, Talk, exchange_once, read_response
from bench.findings import Figure, Findings, Setting, Table
from bench.load import CONNECTIONS
from bench.machine import pinned
from bench.membership import ALONE, MEMBER, SLOT
from bench.processes import process_of
from bench.recipes import (
    ASGI_ALONE,
    ASGI_FASTPYSGI,
    ASGI_GRANIAN,
    ASGI_UVICORN,
    ASGI_UVLOOP_ALONE,
    CALLED,
    DONE,
    POSTED,
    WSGI_ALONE,
    WSGI_COMBINED_ALONE,
    WSGI_FASTPYSGI,
    WSGI_GRANIAN,
    WSGI_JSON_ALONE,
)
from bench.servers import Recipe, Server
from bench.websocket import TALK

WARM_UP, FEW, MANY = 5, 5, 25
"""Rounds of one request on each connection."""


@dataclass(frozen=True)
class Kind:
    """Servers that do the same. The first one is ours, and what the others are compared with."""

    name: str
    talk: Talk
    recipes: Sequence[Recipe]

    @property
    def ours(self) -> Recipe:
        return self.recipes[0]


KINDS = (
    Kind("events", HELLO, (DONE, CALLED, POSTED)),
    Kind("WSGI", HELLO, (WSGI_ALONE, WSGI_FASTPYSGI, WSGI_GRANIAN)),
    Kind("WSGI with an access log", HELLO, (WSGI_COMBINED_ALONE, WSGI_JSON_ALONE, WSGI_ALONE)),
    Kind("worker of a pool", HELLO, (MEMBER, SLOT, ALONE)),
    Kind("ASGI", HELLO, (ASGI_ALONE, ASGI_UVLOOP_ALONE, ASGI_FASTPYSGI, ASGI_GRANIAN, ASGI_UVICORN)),
    Kind("WebSocket echo", TALK, (ASGI_ALONE, ASGI_UVLOOP_ALONE, ASGI_GRANIAN, ASGI_UVICORN)),
)

Round = Callable[[Server, Talk, Sequence[socket.socket]], None]
"""One request on each of the connections."""


def _one_at_a_time(_server: Server, talk: Talk, connections: Sequence[socket.socket]) -> None:
    for connection in connections:
        exchange_once(connection, talk)


def _all_at_once(server: Server, talk: Talk, connections: Sequence[socket.socket]) -> None:
    server.pause()  # or it would see the first ones before the last ones are sent
    for connection in connections:
        connection.sendall(talk.message)
    server.resume()
    for connection in connections:
        read_response(connection, talk)


ROUNDS: Mapping[str, Round] = {"one at a time": _one_at_a_time, f"{CONNECTIONS} at once": _all_at_once}
Counts = dict[str, float]
"""Instructions of a request by load."""


def run(setting: Setting) -> Findings:
    figures: list[Figure] = []
    tables: list[Table] = []
    details: dict[str, object] = {}
    for kind in KINDS:
        found: dict[str, Counts] = {}
        missing: dict[str, str] = {}
        for recipe in kind.recipes:
            setting.log(f"{kind.name}: {recipe.name}")
            try:
                found[recipe.name] = count(recipe, kind.talk, setting)
            except (RuntimeError, OSError) as error:
                missing[recipe.name] = " ".join(str(error).split())
                setting.log(f"{recipe.name} is missing: {missing[recipe.name]}")
        figures += _figures(kind, found, missing)
        tables.append(_table(kind, found))
        details[kind.name] = {"instructions": found, "missing": missing}
    return Findings(figures, tables, details)


def count(recipe: Recipe, talk: Talk, setting: Setting) -> Counts:
    """Counts for one server. Raises RuntimeError or OSError if it does not respond as it should."""
    with (
        tempfile.TemporaryDirectory(prefix="prefork-counts-") as directory,
        Server(counted(recipe, Path(directory)), setting.cores.server) as server,
        pinned(setting.cores.client),
        ExitStack() as stack,
    ):
        connections = [stack.enter_context(talk.open(server)) for _ in range(CONNECTIONS)]
        _one_at_a_time(server, talk, connections)  # once it has responded, it holds the connections
        read = counter(process_of(server.pid, connections[0]), Path(directory))

        def spent(send: Round, rounds: int) -> int:
            read()
            for _ in range(rounds):
                send(server, talk, connections)
            return read()

        counts = {}
        for name, send in ROUNDS.items():
            spent(send, WARM_UP)
            few = spent(send, FEW)
            counts[name] = (spent(send, MANY) - few) / ((MANY - FEW) * len(connections))
        return counts


def _figures(kind: Kind, found: Mapping[str, Counts], missing: Mapping[str, str]) -> list[Figure]:
    ours = found.get(kind.ours.name, {})
    return [
        Figure(
            f"{kind.name}: instructions of a request, {name}",
            ours.get(name),
            "",
            note=missing.get(kind.ours.name, ""),
        )
        for name in ROUNDS
    ]


def _table(kind: Kind, found: Mapping[str, Counts]) -> Table:
    ours = found.get(kind.ours.name)

    def row(recipe: Recipe) -> tuple[str, ...]:
        counts = found.get(recipe.name)
        if counts is None:
            return (recipe.name, *["missing", ""] * len(ROUNDS))
        cells = [
            (f"{counts[name]:,.0f}", f"{counts[name] / ours[name]:.2f}" if ours else "") for name in ROUNDS
        ]
        return (recipe.name, *(cell for pair in cells for cell in pair))

    columns = ("server", *(column for name in ROUNDS for column in (name, "of ours")))
    return Table(f"Instructions of a request, {kind.name}", columns, [row(each) for each in kind.recipes])
