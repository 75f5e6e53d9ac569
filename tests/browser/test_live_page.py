"""The live page in a browser: it shows the states of the workers, goes on by itself, and works for all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.admin import LOCAL, admin_url
from support.apps import APPS
from support.chromium import CHROMIUM, Tab, browser
from support.server import Serve, Server
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

SLOTS = "[...document.querySelectorAll('#slots i')]"
FORMS = """['spare', 'active', 'starting', 'draining', 'stuck'].map(state => {
    const style = getComputedStyle(document.querySelector(`.legend .${state}`))
    return style.borderStyle + style.backgroundImage + (style.backgroundColor === 'rgba(0, 0, 0, 0)')
})"""
"""How each state is drawn, without its color."""


class Watched:
    """A pool with an admin listener. `/hold` on it lasts until the file `release` is there."""

    def __init__(self, serve: Serve, directory: Path, *options: str) -> None:
        self.release = directory / "release"
        app = Path(f"{APPS / 'holds.py'}:asgi")
        parameters = {"release": str(self.release)}
        self.server: Server = serve(
            app, "--admin", LOCAL, "--concurrency", "1", *options, parameters=parameters
        )
        self.url = f"{admin_url(self.server)}/"
        self._held: list[socket.socket] = []

    def hold(self, path: str = "/hold") -> int:
        """Have one more worker serve a request until `release` is there. Returns its pid."""
        before = set(self.server.workers("active"))
        sock = self.server.connect()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._held.append(sock)
        (pid,) = wait_until(lambda: set(self.server.workers("active")) - before, "one more active worker")
        return pid

    def close(self) -> None:
        self.release.touch()
        for sock in self._held:
            sock.close()


@pytest.fixture
def watched(serve: Serve, tmp_path: Path) -> Iterator[Watched]:
    options = ("--min-spare", "1", "--max-spare", "6", "--start", "6", "--max-clients", "8")
    with contextlib.closing(Watched(serve, tmp_path, *options)) as watched:
        yield watched


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    """A page of a browser. It must have had nothing to complain of at the end."""
    with browser(tmp_path / "profile") as tab:
        yield tab
        tab.call("Runtime.evaluate", expression="0")
        assert tab.problems == []


def states(tab: Tab) -> dict[str, int]:
    """How many slots are in each state."""
    classes: list[str] = tab.do(f"{SLOTS}.map(cell => cell.classList[1])")
    return {state: classes.count(state) for state in set(classes)}


def wait_live(tab: Tab) -> None:
    tab.wait("document.getElementById('link').textContent.startsWith('live')")


def test_the_slots_show_what_the_workers_do(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    wait_live(tab)
    assert states(tab) == {"spare": 6, "empty": 2}
    watched.hold()
    drains, stops = watched.hold(), watched.hold()
    os.kill(drains, signal.SIGTERM)
    os.kill(stops, signal.SIGSTOP)
    try:
        tab.wait(f"{SLOTS}.some(cell => cell.classList.contains('draining'))")
        tab.wait(f"{SLOTS}.some(cell => cell.classList.contains('stuck'))")
        found = states(tab)
        assert (found["active"], found["draining"], found["stuck"]) == (1, 1, 1)
        tab.wait("document.getElementById('link').textContent === 'live, 1 stuck'")
        assert "1 stuck" in tab.do("document.title")
        assert len(set(tab.do(FORMS))) == 5  # told apart by more than color
    finally:
        os.kill(stops, signal.SIGCONT)


def test_the_page_goes_on_by_itself(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    wait_live(tab)
    tab.wait("document.querySelectorAll('#requests tr').length === 0")
    assert not tab.do("document.getElementById('none').hidden")
    pid = watched.hold()
    tab.wait("document.querySelectorAll('#requests tr').length === 1")
    row = tab.text("#requests tr").split()
    assert row[1:3] == ["GET", "/hold"]
    assert row[-1] == str(pid)
    watched.release.touch()
    tab.wait("document.querySelectorAll('#requests tr').length === 0")
    tab.wait("document.querySelector('figure:nth-child(2) path:last-of-type').getAttribute('d').length > 0")
    assert len(tab.events("Network.eventSourceMessageReceived")) >= 3


def test_requests_are_sorted_by_each_column(watched: Watched, tab: Tab) -> None:
    pids = [watched.hold(f"/hold?{number}") for number in range(3)]
    tab.open(watched.url)
    wait_live(tab)
    column = "[...document.querySelectorAll('#requests tr')].map(row => Number(row.cells[5].textContent))"
    tab.wait(f"{column}.length === 3")
    assert tab.do(column) == pids  # the oldest first
    button = "document.querySelector('th[data-key=\"5\"] button')"
    tab.do(f"{button}.focus()")
    tab.press("Enter")
    assert tab.do(column) == pids[::-1]
    assert tab.do(f"{button}.parentElement.ariaSort") == "ascending"
    tab.do("document.querySelector('th[data-key=\"2\"] button').click()")
    assert tab.do("document.querySelectorAll('th[aria-sort]').length") == 1


def test_the_slots_are_walked_with_the_keyboard(watched: Watched, tab: Tab) -> None:
    pid = watched.hold()
    tab.open(watched.url)
    wait_live(tab)
    described = []
    tab.do("document.getElementById('slots').focus()")
    for _ in range(8):
        described.append(tab.text("#slot"))
        tab.press("ArrowRight")
    assert f"worker {pid}, active, generation 1, GET /hold" in "\n".join(described)
    assert described[-1] == "slot 7: empty"
    assert tab.do("document.getElementById('slot').getAttribute('aria-live')") == "polite"
    tab.press("Escape")
    assert tab.text("#slot") == ""


def test_the_page_can_be_paused(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    wait_live(tab)
    tab.do("document.getElementById('pause').focus()")
    tab.press("Enter")
    assert tab.text("#link") == "paused"
    assert tab.do("document.getElementById('pause').ariaPressed") == "true"
    watched.hold()
    count = len(tab.events("Network.eventSourceMessageReceived"))
    assert states(tab)["spare"] == 6
    assert len(tab.events("Network.eventSourceMessageReceived")) == count
    tab.press("Enter")
    wait_live(tab)
    tab.wait(f"{SLOTS}.some(cell => cell.classList.contains('active'))")


def test_the_past_is_looked_at_with_the_keyboard(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    wait_live(tab)
    watched.hold()
    tab.wait("document.querySelector('.charts [data-value=active]').textContent === '1'")
    tab.do("document.getElementById('when').focus()")
    tab.do("document.getElementById('when').stepDown(19)")
    tab.do("document.getElementById('when').dispatchEvent(new Event('input'))")
    assert tab.text(".charts [data-value=active]") == "0"
    assert tab.text("#then") == "19s ago"


def test_dark_and_light_differ_and_can_be_read(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    wait_live(tab)
    color = "getComputedStyle(document.body).{}"
    lightness = {}
    for scheme in ("light", "dark"):
        tab.prefer(scheme)
        lightness[scheme] = [
            float(tab.do(color.format(name)).removeprefix("oklch(").split()[0])
            for name in ("backgroundColor", "color")
        ]
    assert lightness["light"][0] > 0.9 > 0.4 > lightness["light"][1]
    assert lightness["dark"][0] < 0.3 < 0.8 < lightness["dark"][1]


def test_a_phone_is_wide_enough(watched: Watched, tab: Tab) -> None:
    watched.hold("/hold?" + "x" * 300)
    tab.resize(360, 740)
    tab.open(watched.url)
    wait_live(tab)
    tab.wait("document.querySelectorAll('#requests tr').length === 1")
    assert tab.do("document.scrollingElement.scrollWidth") <= 360


def test_the_page_is_whole_without_its_script(watched: Watched, tab: Tab) -> None:
    watched.hold()
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(watched.url)
    found = tab.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    text = tab.call("DOM.getOuterHTML", nodeId=found)["outerHTML"]
    assert text.count('<i class="w active g1"></i>') == 1
    assert '<td class="path">/hold</td>' in text
    assert "as it was at" in text
    assert not tab.events("Network.eventSourceMessageReceived")


def test_a_path_is_no_markup(watched: Watched, tab: Tab) -> None:
    watched.hold("/hold?<img/src=x/onerror=alert(1)>")
    tab.open(watched.url)
    wait_live(tab)
    tab.wait("document.querySelectorAll('#requests tr').length === 1")
    assert tab.do("document.querySelectorAll('img').length") == 0


def test_nothing_comes_from_elsewhere_and_no_text_becomes_html(watched: Watched, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        tab.open(watched.url)
        wait_live(tab)
        tab.do("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:1/x'}))")
        wait_until(lambda: tab.events("Log.entryAdded"), "a complaint of the browser")
        assert any("Content Security Policy" in problem for problem in tab.problems)
        tried = "(() => { try { document.body.innerHTML = '<b>' } catch (error) { return error.name } })()"
        assert tab.do(tried) == "TypeError"


def test_the_page_returns_after_a_restart(watched: Watched, tab: Tab) -> None:
    """Also the streams of a manager that stops end at once."""
    tab.open(watched.url)
    wait_live(tab)
    watched.server.stop()
    tab.wait("document.getElementById('link').textContent === 'no connection, trying again'")
    tab.problems.clear()  # that nothing listens


def test_a_screen_reader_finds_names(watched: Watched, tab: Tab) -> None:
    watched.hold()
    tab.open(watched.url)
    wait_live(tab)
    tab.wait("document.querySelectorAll('#requests tr').length === 1")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    found = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    for role, name in (
        ("group", "Workers"),
        ("button", "Pause"),
        ("slider", "Look back"),
        ("table", "Requests that are being served"),
        ("columnheader", "age"),
        ("cell", "/hold"),
        ("heading", "What the pool has decided"),
        ("status", ""),
    ):
        assert any(one == role and name in named for one, named in found), (role, name)
    speaking = ", ".join(("[aria-live=polite]", "[aria-live=assertive]", "[role=alert]", "[role=status]"))
    assert tab.do(f"[...document.querySelectorAll('{speaking}')].map(one => one.id)") == ["link"]


def test_generations_differ_in_color(watched: Watched, tab: Tab) -> None:
    held = watched.hold()
    tab.open(watched.url)
    wait_live(tab)
    watched.server.signal(signal.SIGHUP)
    tab.wait("document.getElementById('generations').textContent.includes('1 of generation 1')")
    assert held in watched.server.workers()
    colors = (
        "[...document.querySelectorAll('#generations i')].map(one => getComputedStyle(one).backgroundColor)"
    )
    assert len(set(tab.do(colors))) == 2


def test_a_pool_of_one_is_watched(serve: Serve, tmp_path: Path, tab: Tab) -> None:
    with contextlib.closing(Watched(serve, tmp_path, "--workers", "1")) as watched:
        tab.open(watched.url)
        wait_live(tab)
        assert states(tab) == {"spare": 1}
        watched.hold()
        tab.wait(f"{SLOTS}[0].classList.contains('active')")
