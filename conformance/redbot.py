"""REDbot (caching, validation, ranges, connections) against files of `--static`."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from conformance.environments import APPS, run, serving, virtual_environment
from conformance.findings import Findings

PACKAGES = ("redbot==2.7.1",)
FILES = {
    "page.html": "<!doctype html><title>Page</title>" + "<p>text" * 300,
    "plain.txt": "text\n" * 1000,
    "script.js": "console.log(1)\n" * 100,
    "small.bin": "\1\2\3" * 50,
}
BAD = ("BAD", "WARN")


def run_redbot() -> Findings:
    program = virtual_environment(*PACKAGES) / "bin" / "redbot"
    found = Findings("REDbot 2.7.1", "files of `--static`")
    with tempfile.TemporaryDirectory() as directory:
        for name, text in FILES.items():
            (Path(directory) / name).write_text(text)
        flags = ("--static", f"/files={directory}", "--static-cache", "*=60")
        with serving(str(APPS / "echo.py"), "--workers", "2", *flags) as address:
            for name in FILES:
                said = run(str(program), "-o", "har", f"{address}/files/{name}")
                _read(found, name, said)
    return found


def _read(found: Findings, name: str, said: str) -> None:
    notes = json.loads(said[said.index("{") :])["log"]["entries"][0]["_red_messages"]
    levels = Counter(note["level"].lower() for note in notes)
    found.results[name] = ", ".join(f"{count} {level}" for level, count in sorted(levels.items()))
    found.failed += [f"{name}: {note['summary']}" for note in notes if note["level"] in BAD]
