"""Plotly Dash in Chromium."""

from __future__ import annotations

from applications.browsing import browsing
from applications.report import holds, same
from applications.trial import Part, Trial


def _run(trial: Trial) -> None:
    with trial.serve("dash_app.py:application", "--workers", "3") as site:
        with trial.check("its layout and its callbacks, as JSON"):
            holds(site.get("/_dash-layout").text, "turned")
            same(len(site.get("/_dash-dependencies").json()), 3)
        with browsing(trial.place) as tab:
            with trial.check("the page opens in a browser, and draws its chart"):
                tab.open(site.url)
                tab.wait("document.querySelectorAll('#chart .bars path').length === 10")
                holds(tab.do("document.querySelector('#chart .gtitle').textContent"), "factor 1")
            with trial.check("30 clicks, each with its text"):
                for number in range(1, 31):
                    tab.do("document.querySelector('#turn').click()")
                    tab.wait(f"document.querySelector('#turned').innerText.startsWith('{number}: cba')")
            with trial.check("the browser has complained of nothing"):
                same(tab.problems, [])


DASH = Part("dash", "dash", "WSGI: its page in Chromium, callbacks", _run, programs=("chromium",))
