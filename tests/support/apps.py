"""Where the applications under test are."""

from __future__ import annotations

from pathlib import Path

APPS = Path(__file__).parents[1] / "apps"
ASGI_APP = APPS / "asgi_app.py"
WEBSOCKET_APP = APPS / "websocket_app.py"
