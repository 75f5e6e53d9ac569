"""The version of prefork that runs, as it is installed, and how its native module was built."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

from prefork._engine import build_facts

VERSION = version("prefork")


def build_lines() -> list[str]:
    """What a report of a fault should have: `prefork VERSION`, then a line for each part."""
    facts = build_facts()
    engine = f"{facts['version']} ({facts['profile']}, {facts['target']}, Rust {facts['rustc'] or 'unknown'})"
    return [
        f"prefork {VERSION}",
        f"commit: {facts['commit'] or 'unknown'}",
        f"engine: {engine}",
        f"features: {facts['features'].replace(',', ', ') or 'none'}; cryptography: {facts['cryptography']}",
        f"Python: {platform.python_implementation()} {platform.python_version()} ({sys.executable})",
    ]
