"""The error page of `prefork dev` in a browser: until a save mends it, in light and dark, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chromium import CHROMIUM, Tab, browser
from support.project import Project

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

RIGHT = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<h1>right</h1>"]
"""
WRONG = """
    def app(environ, start_response):
        text = "<script>document.title = 'taken over'</script>"
        raise ValueError(text)
"""
STATUS = "the server responded with a status of 500"
"""What the browser says of the page itself."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    project = Project(root)
    yield project
    project.close()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with browser(tmp_path / "profile") as tab:
        yield tab
        tab.call("Runtime.evaluate", expression="0")
        assert [problem for problem in tab.problems if STATUS not in problem] == []


def background(tab: Tab) -> str:
    color: str = tab.do("getComputedStyle(document.body).backgroundColor")
    return color


def test_an_exception_is_a_page_until_a_save_mends_it(project: Project, tab: Tab) -> None:
    project.write("app.py", WRONG)
    server = project.serve("app.py")
    tab.open(server.url)
    assert tab.text("h1") == "The application has raised an exception"
    assert "ValueError: <script>" in tab.text(".message")
    assert tab.do("document.title").startswith("ValueError")
    assert "raise ValueError(text)" in tab.text("details[open] .here")
    assert tab.do("document.scripts.length") == 0
    loaded = {one["request"]["url"] for one in tab.events("Network.requestWillBeSent")} - {"data:,"}
    assert loaded == {f"{server.url}/"}
    project.save("app.py", RIGHT)
    tab.call("Page.reload")
    tab.wait("document.querySelector('h1')?.innerText === 'right'")


def test_the_page_is_for_light_and_dark_and_for_narrow_screens(project: Project, tab: Tab) -> None:
    project.write("app.py", WRONG)
    tab.resize(360, 700)
    tab.open(project.serve("app.py").url)
    tab.prefer("light")
    light = background(tab)
    tab.prefer("dark")
    assert background(tab) != light
    assert tab.do("document.documentElement.scrollWidth <= innerWidth")
