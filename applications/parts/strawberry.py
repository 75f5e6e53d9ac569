"""GraphQL by strawberry: queries over HTTP, subscriptions over WebSocket (graphql-transport-ws)."""

from __future__ import annotations

import json
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from applications.report import holds, same
from applications.site import Site
from applications.trial import Part, Trial
from support.waiting import wait_until

WAIT_S = 20
ENDLESS = 1_000_000


def _run(trial: Trial) -> None:
    ended = trial.place / "ended"
    ended.touch()
    env = {"ENDED": str(ended)}
    with trial.serve(
        "strawberry_app.py", "--workers", "2", env=env, harmless=("there is no such number",)
    ) as site:
        site.home = "/graphql?query={squares(below:3)}"
        with trial.check("a query, a mutation, an error"):
            same(_ask(site, "{ squares(below: 4) }")["data"], {"squares": [0, 1, 4, 9]})
            same(_ask(site, "mutation { add(one: 2, other: 3) }")["data"], {"add": 5})
            holds(_ask(site, "{ fails }")["errors"][0]["message"], "there is no such number")
        with trial.check("two subscriptions on one WebSocket, side by side"), _open(site) as websocket:
            for name, target in (("a", 50), ("b", 30)):
                _subscribe(websocket, name, target)
            found: dict[str, list[int]] = {"a": [], "b": []}
            complete = 0
            while complete < 2:
                message = _receive(websocket)
                if message["type"] == "complete":
                    complete += 1
                else:
                    found[message["id"]].append(message["payload"]["data"]["count"])
            same(found, {"a": list(range(50)), "b": list(range(30))})
        with trial.check("a subscription that its client completes ends in the application"):
            with _open(site) as websocket:
                _subscribe(websocket, "x", ENDLESS)
                same(_receive(websocket)["type"], "next")
                websocket.send(json.dumps({"id": "x", "type": "complete"}))
                wait_until(lambda: str(ENDLESS) in ended.read_text(), "the end of the subscription")
        with trial.check("a subscription ends in the application when its client goes without a word"):
            websocket = _open(site)
            _subscribe(websocket, "x", ENDLESS + 1)
            same(_receive(websocket)["type"], "next")
            websocket.socket.close()
            wait_until(lambda: str(ENDLESS + 1) in ended.read_text(), "the end of the subscription")
        with trial.check("a reload ends the subscriptions of former workers"):
            with _open(site) as websocket:
                _subscribe(websocket, "x", ENDLESS + 2)
                same(_receive(websocket)["type"], "next")
                site.reload()
            wait_until(lambda: str(ENDLESS + 2) in ended.read_text(), "the end of the subscription")


def _ask(site: Site, query: str) -> Any:
    return site.client.post("/graphql", json={"query": query}).json()


def _open(site: Site) -> ClientConnection:
    protocol = Subprotocol("graphql-transport-ws")
    websocket = connect(site.websocket("/graphql"), subprotocols=[protocol], proxy=None, open_timeout=WAIT_S)
    same(websocket.subprotocol, protocol)
    websocket.send(json.dumps({"type": "connection_init"}))
    same(_receive(websocket)["type"], "connection_ack")
    return websocket


def _subscribe(websocket: ClientConnection, name: str, target: int) -> None:
    payload = {"query": f"subscription {{ count(target: {target}) }}"}
    websocket.send(json.dumps({"id": name, "type": "subscribe", "payload": payload}))


def _receive(websocket: ClientConnection) -> Any:
    return json.loads(websocket.recv(WAIT_S))


STRAWBERRY = Part(
    "strawberry",
    "strawberry-graphql, fastapi",
    "ASGI: queries, subscriptions over WebSocket",
    _run,
    ("strawberry-graphql[fastapi]", "fastapi"),
)
