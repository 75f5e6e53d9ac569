"""`make pictures`: the live page of a pool under load, as docs/observability.md and the readme show it.

The pool serves a shop whose pages take their time. The load is drawn from a seed; what the pictures show of
it depends on the machine.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from support.admin import LOCAL, admin_url
from support.chromium import browser
from support.server import Server, start_server
from support.waiting import wait_until

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SHOP = """
import time

TIMES_S = {"/report": 5.4, "/search": 0.18, "/cart": 0.04, "/": 0.04}


def app(environ, start_response):
    name = "/" + environ["PATH_INFO"].split("/")[1]
    time.sleep(TIMES_S.get(name, 0.01))
    start_response("200 OK" if name in TIMES_S else "404 Not Found", [("Content-Type", "text/plain")])
    return [b"a page"]
"""
OPTIONS = ("--glue", "shop", "--min-spare", "4", "--max-spare", "10", "--start", "6", "--max-clients", "48")
PATHS = ("/", "/cart", "/cart/3", "/search", "/nowhere", "/report/2024", "/report/2025")
WEIGHTS = (40, 20, 20, 13, 5, 1, 1)
CLIENTS = 24
LOAD_S = 40.0
RELOAD_S = 60.0


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        shop(Path(name)) as server,
        load(server),
        browser(Path(name) / "profile") as tab,
    ):
        tab.open(f"{admin_url(server)}/")
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        tab.prefer("light")
        tab.resize(1120, 820)
        time.sleep(LOAD_S)  # the curves need this long to show something
        tab.take_picture(PICTURES / "live-light.png")
        tab.prefer("dark")
        tab.resize(1120, 660)
        server.signal(signal.SIGHUP)
        tab.wait("/[3-9] of generation 2/.test(document.body.innerText)", RELOAD_S)
        tab.take_picture(PICTURES / "live-reload.png")
        tab.resize(390, 780)
        tab.take_picture(PICTURES / "live-phone.png")


@contextlib.contextmanager
def shop(folder: Path) -> Iterator[Server]:
    (folder / "shop.py").write_text(SHOP)
    server = start_server(f"{folder}/shop.py:app", "--bind", "127.0.0.1:0", "--admin", LOCAL, *OPTIONS)
    try:
        yield server.wait_serving()
    finally:
        server.kill()


@contextlib.contextmanager
def load(server: Server) -> Iterator[None]:
    """Clients with kept connections, of whom one more comes each second."""
    ended = threading.Event()
    clients = [threading.Thread(target=visit, args=(server, number, ended)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    wait_until(lambda: server.workers("active"), "the load")
    try:
        yield
    finally:
        ended.set()
        for client in clients:
            client.join()


def visit(server: Server, number: int, ended: threading.Event) -> None:
    drawn = random.Random(number)
    connection = http.client.HTTPConnection(str(server.host), int(server.port or 0), timeout=60)
    ended.wait(float(number))
    while not ended.wait(drawn.expovariate(8.0)):
        try:
            connection.request("GET", drawn.choices(PATHS, WEIGHTS)[0])
            connection.getresponse().read()
        except (ConnectionError, http.client.HTTPException):  # the connection was closed in a reload
            connection.close()
    connection.close()


if __name__ == "__main__":
    main()
