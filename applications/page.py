"""docs/applications.md: the results of the last run of each application."""

from __future__ import annotations

from collections.abc import Iterable

from applications.environments import ROOT
from applications.report import Report

HEAD = """\
<!-- Written by `make applications`. Do not edit. -->

# Applications

`make applications` serves real applications with `prefork serve` and uses them as their users do: with a
browser, a client library, or an HTTP client. Each comes from the package index into an environment of its
own under `target/applications`, in the versions of `applications/pins`. It is no part of `make test`. What is
not to be had on a machine is left out, with the reason.

Almost all of them are also reloaded while a client sends requests, of which none may fail, and stopped: the
exit status must be 0, and the log must have no error of the application and no warning of the server.
"""


def write(reports: Iterable[Report]) -> None:
    listed = list(reports)
    rows = [
        f"| [{one.application}](#{_anchor(one.application)}) | {one.about} | {_count(one)} |"
        for one in listed
    ]
    table = ["| Application | What is used of it | Checks that passed |", "|---|---|---|", *rows]
    sections = [_section(one) for one in listed]
    text = "\n".join([HEAD, "\n".join(table) + "\n", *sections])
    (ROOT / "docs" / "applications.md").write_text(text)


def _count(report: Report) -> str:
    return f"{len(report.checks) - len(report.failed)} of {len(report.checks)}"


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _section(report: Report) -> str:
    lines = [f"## {report.application}", ""]
    lines += [f"`prefork serve {served}`  " for served in report.served]
    lines += ["", "| Check | Result |", "|---|---|"]
    lines += [f"| {check} | {_result(reason)} |" for check, reason in report.checks.items()]
    return "\n".join(lines) + "\n"


def _result(reason: str) -> str:
    return f"failed: {reason.replace('|', '&#124;')}" if reason else "passed"
