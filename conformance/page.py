"""docs/conformance.md: the results of the last run of each program."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.environments import ROOT
from conformance.findings import Findings

HEAD = """\
<!-- Written by `make conformance`. Do not edit. -->

# Conformance

`make conformance` runs test programs of others against the server, each from an environment of its own under
`target/conformance`, and writes this page. It is no part of `make test`. A program that is not to be had on a
machine is left out, with the reason.
"""


def write(findings: Iterable[Findings]) -> None:
    parts = [HEAD, *map(_section, findings)]
    (ROOT / "docs" / "conformance.md").write_text("\n".join(parts))


def _section(found: Findings) -> str:
    lines = [f"## {found.program}: {found.what}", "", "| Cases | Result |", "|---|---|"]
    lines += [f"| {name} | {result} |" for name, result in found.results.items()]
    if found.failed:
        lines += ["", "Failed:", *(f"- {failed}" for failed in found.failed)]
    return "\n".join(lines) + "\n"
