"""NiceGUI in Chromium. Its pages live in the memory of the process, so there is one worker."""

from __future__ import annotations

from applications.browsing import browsing
from applications.report import same
from applications.trial import Part, Trial


def _run(trial: Trial) -> None:
    with trial.serve("nicegui_app.py:application", "--workers", "1") as site:
        with browsing(trial.place) as tab:
            with trial.check("the page opens in a browser"):
                tab.open(site.url)
                tab.wait("document.querySelector('.count')?.innerText === 'count 0'")
            with trial.check("20 clicks, which the server counts"):
                tab.wait("window.socket === undefined || window.socket.connected")
                for number in range(1, 21):
                    tab.do("document.querySelector('.add').click()")
                    tab.wait(f"document.querySelector('.count').innerText === 'count {number}'")
            with trial.check("the server changes the page while it works"):
                tab.do("document.querySelector('.work').click()")
                tab.wait("document.querySelector('.count').innerText === 'worked 4'")
            with trial.check("the browser has complained of nothing"):
                same(tab.problems, [])


NICEGUI = Part(
    "nicegui", "nicegui", "ASGI: its page in Chromium, over Socket.IO", _run, programs=("chromium",)
)
