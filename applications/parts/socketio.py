"""python-socketio, over ASGI and in its threading mode over WSGI, with its own client.

Its sessions are in the memory of the process, so there is one worker.
"""

from __future__ import annotations

from applications.site import Site
from applications.trial import Part, Trial

CLOSED_TWICE = "in writer\n    ws.close()\n"
"""In a traceback of python-engineio, with gunicorn too. When a client leaves, its thread that writes closes
the WebSocket while the thread of simple-websocket that reads responds to the close frame. No lock guards
what both use, so now and then the first one finds it closed.
"""


def _run(trial: Trial) -> None:
    with trial.serve("socketio_asgi.py", "--workers", "1", about="ASGI") as site:
        _talk(trial, site)
    with trial.serve(
        "socketio_wsgi.py", "--workers", "1", "--threads", "32", about="WSGI", harmless=(CLOSED_TWICE,)
    ) as site:
        _talk(trial, site)


def _talk(trial: Trial, site: Site) -> None:
    site.home = "/socket.io/?EIO=4&transport=polling"
    for transports, what in (
        ("polling", "polls"),
        ("websocket", "a WebSocket"),
        ("polling,websocket", "polls that become a WebSocket"),
    ):
        with trial.check(f"rooms, bytes, acknowledgements and ends of six clients, by {what}"):
            trial.client("talk_socketio.py", site.url, transports)


SOCKETIO = Part(
    "socketio",
    "python-socketio",
    "ASGI and WSGI in threads: polls, WebSockets, the change from one to the other",
    _run,
    ("python-socketio[client]", "simple-websocket"),
)
