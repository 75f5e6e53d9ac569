"""Chromium, for applications that are pages of a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from applications.environments import Missing
from support.chromium import CHROMIUM, Tab, browser


@contextlib.contextmanager
def browsing(place: Path) -> Iterator[Tab]:
    """A page of a browser of its own. Raise Missing if there is none on the machine."""
    if CHROMIUM is None:
        raise Missing("it needs Chromium: `make programs` installs it")
    with browser(place / "chromium") as tab:
        yield tab
