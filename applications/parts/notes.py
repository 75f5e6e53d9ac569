"""Starlette with SQLAlchemy's asyncio: a database that all workers write."""

from __future__ import annotations

from applications.report import same
from applications.trial import Part, Trial

NOTES = 400


def _run(trial: Trial) -> None:
    path = trial.place / "notes.db"
    with trial.serve("notes.py", "--workers", "4", env={"DATABASE": str(path)}) as site:
        with trial.check(f"{NOTES} notes of 16 clients are all there, once each, from several workers"):
            numbers = site.at_once(
                lambda client, number: client.post("/notes", json={"text": f"note {number}"}).json()["id"],
                range(NOTES),
                users=16,
            )
            same(len(set(numbers)), NOTES)
            found = site.get("/").json()
            same(found["count"], NOTES)
            if len(found["workers"]) < 2:
                raise AssertionError("one worker has written all of them")
        with trial.check("a transaction that fails is taken back"):
            response = site.client.post("/notes", json={"text": "bad"})
            same((response.status_code, response.json()), (409, {"error": "it is taken back"}))
            same(site.get("/").json()["count"], NOTES)
        with trial.check("rows as a stream"):
            lines = site.get("/notes").text.splitlines()
            same(sorted(line.partition(" ")[2] for line in lines), sorted(f"note {n}" for n in range(NOTES)))
        with trial.check("a client that leaves in the middle of a stream gives its connection back"):
            for _ in range(30):  # more than the pool of connections of a worker has
                with site.client.stream("GET", "/notes") as response:
                    next(response.iter_lines())
            same(site.get("/").json()["count"], NOTES)
        workers = site.server.workers()
    with trial.check("the lifespan of each worker has closed its engine"):
        ended = (trial.place / "notes.db.ended").read_text().split()
        same(len(ended), len(set(ended)))
        same(len(ended), 2 * len(workers))


NOTES_PART = Part(
    "sqlalchemy",
    "sqlalchemy, starlette, aiosqlite",
    "ASGI: lifespan, a database that all workers write, rows as a stream",
    _run,
    ("sqlalchemy[asyncio]", "starlette", "aiosqlite"),
)
