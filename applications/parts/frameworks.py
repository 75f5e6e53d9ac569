"""Web frameworks: the pages of conversations.py in each."""

from __future__ import annotations

from collections import Counter

from applications.conversations import talk
from applications.report import same
from applications.trial import Part, Trial
from support.waiting import wait_until


def _falcon(trial: Trial) -> None:
    env = {"DOWNLOAD": str(trial.place / "download.bin")}
    with trial.serve("framework_falcon.py", "--workers", "3", env=env, about="WSGI") as site:
        talk(trial, site, "hello", "upload", "lines", "file", "fails")
    with trial.serve("framework_falcon_asgi.py", "--workers", "3", about="ASGI") as site:
        talk(trial, site, "hello", "upload", "lines", "events", "echo", "fails")


def _pyramid(trial: Trial) -> None:
    env = {"DOWNLOAD": str(trial.place / "download.bin")}
    with trial.serve("framework_pyramid.py", "--workers", "3", env=env) as site:
        talk(trial, site, "hello", "upload", "lines", "file", "counter", "fails")


def _quart(trial: Trial) -> None:
    notes = trial.place / "lifespan"
    env = {"DOWNLOAD": str(trial.place / "download.bin"), "LIFESPAN": str(notes)}
    with trial.serve("framework_quart.py", "--workers", "3", env=env) as site:
        talk(trial, site, "hello", "upload", "lines", "file", "events", "echo", "counter", "fails")
        with trial.check("a background task ends after its response"):
            site.get("/later")
            wait_until(lambda: "worked" in notes.read_text(), "the background task")
        with trial.check("a worker that ends waits for the background task"):
            former = notes.read_text().count("worked")
            site.get("/later")
            site.reload()
            wait_until(lambda: notes.read_text().count("worked") == former + 1, "the background task")
    with trial.check("each worker's lifespan has begun and ended"):
        counts = Counter(
            tuple(line.split()) for line in notes.read_text().splitlines() if "worked" not in line
        )
        begun = {pid for what, pid in counts if what == "begins"}
        same(begun, {pid for what, pid in counts if what == "ends"})
        same(set(counts.values()), {1})
        same(len(begun) >= 9, True)


def _litestar(trial: Trial) -> None:
    env = {"DOWNLOAD": str(trial.place / "download.bin")}
    with trial.serve("framework_litestar.py", "--workers", "3", env=env) as site:
        talk(trial, site, "hello", "upload", "lines", "file", "events", "echo", "counter", "fails")
        with trial.check("its description of the pages (OpenAPI)"):
            same("/hello/{name}" in site.get("/schema/openapi.json").json()["paths"], True)


FALCON = Part(
    "falcon", "falcon", "WSGI: upload, streams, files; ASGI: upload, streams, events, WebSocket", _falcon
)
PYRAMID = Part("pyramid", "pyramid", "WSGI: upload, streams, files, session", _pyramid)
QUART = Part("quart", "quart", "ASGI: all of these, lifespan, background tasks", _quart)
LITESTAR = Part(
    "litestar", "litestar", "ASGI: all of these, OpenAPI", _litestar, ("litestar[standard]", "cryptography")
)
