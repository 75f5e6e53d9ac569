"""Gradio in Chromium, and by its own client. Its queue is in the process's memory: one worker."""

from __future__ import annotations

from applications.browsing import browsing
from applications.trial import Part, Trial

SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
FILL = """(() => {
    const field = document.querySelector('#name textarea, #name input');
    field.value = 'Jörg';
    field.dispatchEvent(new Event('input', {bubbles: true}));
})()"""
GREETING = "document.querySelector('#greeting textarea, #greeting input')?.value"


def _run(trial: Trial) -> None:
    with trial.serve("gradio_app.py:application", "--workers", "1", "--no-preload", env=SETTINGS) as site:
        site.home = "/config"
        with trial.check("its own client (gradio_client): a result, results as they come, 20 jobs at once"):
            trial.client("talk_gradio.py", site.url)
        with browsing(trial.place) as tab:
            with trial.check("the page opens in a browser, and a click shows the greeting"):
                tab.open(site.url)
                tab.wait("document.querySelector('#name textarea, #name input') !== null")
                tab.wait("document.querySelector('#greet') !== null")
                tab.do(FILL)
                tab.do("document.querySelector('#greet').click()")
                tab.wait(f"{GREETING} === 'Hello Jörg'")
            with trial.check("results that come one after another"):
                tab.do("document.querySelector('#count').click()")
                tab.wait(f"{GREETING} === 'step 2'")


GRADIO = Part(
    "gradio",
    "gradio",
    "ASGI: its page in Chromium, its client, server-sent events",
    _run,
    programs=("chromium",),
)
