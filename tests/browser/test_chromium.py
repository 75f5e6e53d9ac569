"""A browser looks at what is served: the synopsis, and an application that talks with its page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.server import Serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(url: str, profile: Path) -> str:
    """The page as the browser has it after loading it."""
    assert CHROMIUM is not None
    quiet = (
        "--headless --no-sandbox --disable-gpu --disable-quic --disable-sync --no-first-run "
        "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
        "--virtual-time-budget=10000"  # what the page's scripts wait for has come
    )
    command = [CHROMIUM, *quiet.split(), f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout


def test_a_browser_shows_the_page_of_a_worker(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "synopsis.py", "--workers", "2")
    page = browse(server.url, tmp_path / "profile")
    assert "<title>prefork</title>" in page
    assert any(f"Worker {pid} says hello" in page for pid in server.workers())


def test_a_browser_shows_the_error_page(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "synopsis.py", "--workers", "1")
    assert "there is no /elsewhere" in browse(f"{server.url}/elsewhere", tmp_path / "profile")


TALKING = """
    PAGE = b'''<!doctype html><title>talk</title><ul></ul>
    <script src="/files/tell.js"></script>
    <script>
        const socket = new WebSocket(`ws://${location.host}/chat`)
        socket.onopen = () => socket.send("from the page")
        socket.onmessage = message => { tell(message.data); socket.close(1000) }
        socket.onclose = close => tell(`closed ${close.code} ${close.wasClean} ${socket.extensions}`)
        const events = new EventSource("/events")
        events.onmessage = event => { tell(`event ${event.data}`); if (event.data == "2") events.close() }
    </script>'''

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise ValueError(f"no {scope['type']} here")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            text = (await receive())["text"]
            await send({"type": "websocket.send", "text": f"heard {text}"})
            await receive()
            return
        kind, pieces = b"text/html", [PAGE]
        if scope["path"] == "/events":
            kind, pieces = b"text/event-stream", [b"data: %d\\n\\n" % number for number in range(3)]
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
"""


def test_a_browser_talks_with_an_application(serve: Serve, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "tell.js").write_text(
        "function tell(text) { document.querySelector('ul').append(`[${text}]`) }", encoding="utf-8"
    )
    server = serve(TALKING, "--workers", "2", "--static", f"/files={files}")
    page = browse(server.url, tmp_path / "profile")
    for told in ("heard from the page", "closed 1000 true permessage-deflate", "event 0", "event 2"):
        assert f"[{told}" in page
