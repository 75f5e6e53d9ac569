"""What clients do with any application that has these pages, as those of `apps/framework_*.py` have.

| page | what it does |
|---|---|
| GET /hello/NAME?greeting=... | JSON: `greeting`, `name`, `pid` |
| POST /upload | a form with the file `file` and the field `note`; JSON: `name`, `note`, `size`, `sha256` |
| GET /lines | 200 lines as a stream, `line 0` and so on |
| GET /file | the file that the variable DOWNLOAD names |
| GET /events | five server-sent events, whose data are `event 0` and so on |
| /echo | a WebSocket: each text comes back after `echo `, each binary message turned round |
| GET /counter | a session in a cookie: counts the visits of a client; JSON: `visits` |
| GET /fails | an exception that is not caught |
"""

from __future__ import annotations

import hashlib
import random

import httpx
from websockets.sync.client import connect

from applications.report import holds, same
from applications.site import Site
from applications.trial import Trial

UPLOAD_BYTES = 3_000_000
WAIT_S = 20
ROUNDS = 10
"""One worker may serve all clients of a round if its requests are quick."""


def content(size: int = UPLOAD_BYTES) -> bytes:
    """Bytes that are always the same."""
    return random.Random(size).randbytes(size)


def talk(trial: Trial, site: Site, *pages: str) -> None:
    """The checks of these pages, and that all workers serve."""
    site.home = "/hello/reload"
    for page in pages:
        CHECKS[page](trial, site)
    with trial.check("400 requests of 8 clients are served rightly, and by more than one worker"):
        pids: set[int] = set()
        for _ in range(ROUNDS):
            answers = site.at_once(lambda client, number: client.get(f"/hello/{number}").json(), range(400))
            same([one["name"] for one in answers], [str(number) for number in range(400)])
            pids |= {one["pid"] for one in answers}
            if len(pids) > 1:
                break
        else:
            raise AssertionError("one worker has served all of them")


def _hello(trial: Trial, site: Site) -> None:
    with trial.check("a path and a query with letters beyond ASCII, as JSON"):
        response = site.client.get("/hello/J%C3%BCrgen%20B", params={"greeting": "Grüß & gut"})
        found = response.json()
        same((found["greeting"], found["name"]), ("Grüß & gut", "Jürgen B"))
    with trial.check("404 for a page that is not there, and 405 or 404 for a wrong method"):
        site.get("/nowhere", status=404)
        holds((404, 405), site.client.put("/hello/x").status_code)


def _upload(trial: Trial, site: Site) -> None:
    sent = content()

    def upload(client: httpx.Client, number: int) -> object:
        files = {"file": (f"{number}.bin", sent[number:], "application/octet-stream")}
        return client.post("/upload", data={"note": "ä"}, files=files).json()

    with trial.check("uploads of 3 MB by four clients at once"):
        for number, found in enumerate(site.at_once(upload, range(8), users=4)):
            digest = hashlib.sha256(sent[number:]).hexdigest()
            same(
                found,
                {"name": f"{number}.bin", "note": "ä", "size": len(sent) - number, "sha256": digest},
            )


def _lines(trial: Trial, site: Site) -> None:
    with trial.check("a response in 200 parts"), site.client.stream("GET", "/lines") as response:
        same(list(response.iter_lines()), [f"line {number}" for number in range(200)])


def _file(trial: Trial, site: Site) -> None:
    (trial.place / "download.bin").write_bytes(content())
    with trial.check("a file of 3 MB"):
        same(hashlib.sha256(site.get("/file").content).digest(), hashlib.sha256(content()).digest())


def _events(trial: Trial, site: Site) -> None:
    with trial.check("server-sent events"):
        with site.client.stream("GET", "/events") as response:
            holds(response.headers["content-type"], "text/event-stream")
            data = [
                line.partition(":")[2].strip() for line in response.iter_lines() if line.startswith("data")
            ]
        same(data, [f"event {number}" for number in range(5)])


def _echo(trial: Trial, site: Site) -> None:
    with trial.check("a WebSocket: 100 texts, 1 MB of bytes, and its end"):
        with connect(site.websocket("/echo"), max_size=None, proxy=None, open_timeout=WAIT_S) as websocket:
            for number in range(100):
                websocket.send(f"{number} ü")
                same(websocket.recv(WAIT_S), f"echo {number} ü")
            websocket.send(content(1_000_000))
            same(websocket.recv(WAIT_S), content(1_000_000)[::-1])
        same(websocket.close_code, 1000)
    with trial.check("20 WebSockets at once"):
        opened = [connect(site.websocket("/echo"), proxy=None, open_timeout=WAIT_S) for _ in range(20)]
        try:
            for number, websocket in enumerate(opened):
                websocket.send(f"{number}")
            for number, websocket in enumerate(opened):
                same(websocket.recv(WAIT_S), f"echo {number}")
        finally:
            for websocket in opened:
                websocket.close()


def _counter(trial: Trial, site: Site) -> None:
    with trial.check("a session in a cookie, whichever worker serves"), site.new_client() as client:
        same([client.get("/counter").json()["visits"] for _ in range(12)], list(range(1, 13)))


def _fails(trial: Trial, site: Site) -> None:
    with trial.check("an exception is a response with status 500, and an entry of the log"):
        if found := site.errors():
            raise AssertionError(f"before it: {found[0]}")
        with site.new_client() as client:
            same(client.get("/fails").status_code, 500)
        site.server.wait_log("meant to fail")
        site.get("/hello/after")
        site.forget_errors()


CHECKS = {
    "hello": _hello,
    "upload": _upload,
    "lines": _lines,
    "file": _file,
    "events": _events,
    "echo": _echo,
    "counter": _counter,
    "fails": _fails,
}
