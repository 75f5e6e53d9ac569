"""Chromium without a window, told what to do over the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from support.waiting import DEADLINE_S, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
KEYS = {
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "Enter": 13,
    "Tab": 9,
    "Escape": 27,
}
"""Virtual key codes, which the protocol wants beside the names."""


class Tab:
    """One page. `problems` is what the browser has complained of: the console, exceptions, a policy."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Any:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            received = json.loads(self._connection.recv(DEADLINE_S))
            if received.get("id") == number:
                assert "error" not in received, (method, received["error"])
                return received["result"]
            self._note(received)

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.problems.append(json.dumps(parameters["args"]))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(parameters["entry"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """The parameters of what has come of that kind."""
        self.call("Runtime.evaluate", expression="0")  # what has come before is noted
        return [event["params"] for event in self._events if event.get("method") == method]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState !== 'loading' && location.href !== 'about:blank'")

    def do(self, expression: str) -> Any:
        """Evaluate an expression in the page, and return its value."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, deadline_s: float = DEADLINE_S) -> Any:
        """Wait until an expression in the page is true, and return its value."""
        return wait_until(lambda: self.do(expression), expression, deadline_s)

    def text(self, selector: str) -> str:
        found: str = self.do(f"document.querySelector({selector!r}).innerText")
        return found

    def press(self, key: str) -> None:
        """Press a key and release it."""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        """The user prefers pages that are `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def take_picture(self, file: Path, *, whole: bool = False) -> None:
        """A picture of the page as a PNG file: of what is seen, or of all of it."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser of its own, and a page in it."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        file = profile / "DevToolsActivePort"

        def place() -> list[str]:
            with contextlib.suppress(FileNotFoundError):
                lines = file.read_text().split()
                return lines if len(lines) == 2 else []
            return []

        port, path = wait_until(place, "the browser")
        with connect(
            f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, ping_interval=None
        ) as connection:
            yield Tab(connection)
    finally:
        process.kill()
        process.wait()
