"""Django with Channels. Its groups reach across the workers by Redis."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

from applications.environments import program
from applications.report import same
from applications.site import Site
from applications.trial import Part, Trial
from support.waiting import wait_until

WAIT_S = 20
CLIENTS = 12


def _run(trial: Trial) -> None:
    redis = program("redis-server")
    with trial.serve("channels_app.py", "--workers", "1", about="one worker, layer in memory") as site:
        _chat(trial, site)
        with trial.check("a consumer that is no coroutine"):
            with connect(site.websocket("/upper"), proxy=None) as websocket:
                websocket.send("grün")
                same(websocket.recv(WAIT_S), "GRÜN")
    with _serving(redis) as port:
        env = {"REDIS": str(port)}
        with trial.serve(
            "channels_app.py", "--workers", "3", "--concurrency", "4", env=env, about="three workers, Redis"
        ) as site:
            workers = _chat(trial, site)
            with trial.check("the clients of the chat were on several workers"):
                if len(workers) < 2:
                    raise AssertionError("all were on one")


@contextlib.contextmanager
def _serving(redis: str) -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    process = subprocess.Popen(
        [redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )

    def listens() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        return False

    try:
        wait_until(listens, "Redis")
        yield port
    finally:
        process.terminate()
        process.wait()


def _chat(trial: Trial, site: Site) -> set[int]:
    workers: set[int] = set()
    with trial.check(f"what one client says reaches all {CLIENTS} of its room, and no other"):
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(connect(site.websocket("/chat/green"), proxy=None))
                for _ in range(CLIENTS)
            ]
            other = stack.enter_context(connect(site.websocket("/chat/red"), proxy=None))
            workers |= {_receive(client)["worker"] for client in [*clients, other]}
            for number in range(20):
                clients[number % CLIENTS].send(json.dumps({"text": f"text {number} ü"}))
            for client in clients:
                heard = sorted(_receive(client)["text"] for _ in range(20))
                same(heard, sorted(f"text {number} ü" for number in range(20)))
            other.send(json.dumps({"text": "alone"}))
            same(_receive(other), {"text": "alone"})
    with trial.check("a page announces to a room"):
        with connect(site.websocket("/chat/blue"), proxy=None) as client:
            _receive(client)
            site.get("/announce/blue?text=ready")
            same(_receive(client), {"text": "announced ready"})
    return workers


def _receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(WAIT_S))


CHANNELS = Part(
    "channels",
    "channels, Django",
    "ASGI: WebSockets in groups, across workers by Redis; pages that are no coroutines",
    _run,
    ("channels", "channels-redis", "Django"),
    ("redis-server",),
)
