"""The version of prefork that runs, as it is installed."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("prefork")
