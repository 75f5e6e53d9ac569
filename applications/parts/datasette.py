"""datasette: a database to look at, over ASGI."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from applications.report import holds, same
from applications.trial import Part, Trial

ROWS = 20_000


def _fill(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE trees (id INTEGER PRIMARY KEY, kind TEXT, height_cm INTEGER)")
        kinds = ("oak", "elm", "yew")
        rows = [(number, kinds[number % 3], number % 997) for number in range(1, ROWS + 1)]
        database.executemany("INSERT INTO trees VALUES (?, ?, ?)", rows)


def _run(trial: Trial) -> None:
    path = trial.place / "wood.db"
    _fill(path)
    with trial.serve("datasette_app.py", "--workers", "3", env={"DATABASE": str(path)}) as site:
        with trial.check("the home page names the tables"):
            holds(site.get("/").text, "trees")
        with trial.check("a page of rows as JSON, and the next one by its token"):
            first = site.get("/wood/trees.json?_size=50&_shape=objects").json()
            same([row["id"] for row in first["rows"]], list(range(1, 51)))
            second = site.get(f"/wood/trees.json?_size=50&_shape=objects&_next={first['next']}").json()
            same(second["rows"][0]["id"], 51)
        with trial.check("a query in SQL with a parameter"):
            sql = "select count(*) as found from trees where kind = :kind"
            response = site.client.get(
                "/wood.json", params={"sql": sql, "kind": "elm", "_shape": "objects"}, follow_redirects=True
            )
            same(response.json()["rows"], [{"found": len([n for n in range(1, ROWS + 1) if n % 3 == 1])}])
        with trial.check(f"all {ROWS} rows as a stream of CSV"):
            lines = site.get("/wood/trees.csv?_stream=1").text.split()
            same((lines[0], len(lines) - 1), ("id,kind,height_cm", ROWS))
            same(lines[-1], f"{ROWS},{('oak', 'elm', 'yew')[ROWS % 3]},{ROWS % 997}")
        with trial.check("facets"):
            facets = site.get("/wood/trees.json?_facet=kind&_size=0").json()["facet_results"]
            found = facets.get("results", facets)["kind"]["results"]
            same(sorted(one["value"] for one in found), ["elm", "oak", "yew"])
        with trial.check("its style sheet"):
            holds(site.get("/-/static/app.css").headers["content-type"], "text/css")
        with trial.check("the page of a row, and 404 for one that is not there"):
            holds(site.get("/wood/trees/77").text, "yew")
            site.get("/wood/trees/99999", status=404)
        with trial.check("600 requests of 12 clients, all of them answered rightly"):
            heights = site.at_once(
                lambda client, number: client.get(f"/wood/trees/{number}.json?_shape=objects").json()["rows"][
                    0
                ],
                range(1, 601),
                users=12,
            )
            same([row["height_cm"] for row in heights], [number % 997 for number in range(1, 601)])


DATASETTE = Part("datasette", "datasette", "pages, JSON, CSV as a stream, queries (ASGI, threads)", _run)
