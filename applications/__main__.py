"""Runs all applications, or those that are named, and writes the page: python -m applications [name ...].

The page is written if each has a result, be it of an earlier run: one without would be missing there. The
exit status is 1 if a check has failed, and 2 for a name that is none.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from applications import page
from applications.environments import PLACE, Environment, Missing, found_program, program
from applications.parts.channels import CHANNELS
from applications.parts.dash import DASH
from applications.parts.datasette import DATASETTE
from applications.parts.frameworks import FALCON, LITESTAR, PYRAMID, QUART
from applications.parts.gradio import GRADIO
from applications.parts.httpbin import HTTPBIN
from applications.parts.nicegui import NICEGUI
from applications.parts.notes import NOTES_PART
from applications.parts.prometheus import PROMETHEUS
from applications.parts.radicale import RADICALE
from applications.parts.socketio import SOCKETIO
from applications.parts.strawberry import STRAWBERRY
from applications.parts.telemetry import OPENTELEMETRY, SENTRY
from applications.parts.wagtail import WAGTAIL
from applications.parts.wsgidav import WSGIDAV
from applications.report import Late, Report
from applications.trial import Part, Trial

PARTS: tuple[Part, ...] = (
    DATASETTE,
    WAGTAIL,
    CHANNELS,
    FALCON,
    LITESTAR,
    PYRAMID,
    QUART,
    NOTES_PART,
    STRAWBERRY,
    SOCKETIO,
    DASH,
    NICEGUI,
    GRADIO,
    HTTPBIN,
    RADICALE,
    WSGIDAV,
    OPENTELEMETRY,
    SENTRY,
    PROMETHEUS,
)
PART_S = 600
"""The time of a part, without that of its installation."""


def main(names: list[str]) -> int:
    parts = {part.name: part for part in PARTS}
    if unknown := set(names) - parts.keys():
        print(f"expected names of {', '.join(parts)}; got {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    needed = {each for name in names or parts for each in parts[name].programs}
    if missing := sorted(each for each in needed if found_program(each) is None):
        print(f"{', '.join(missing)} not found: `make programs` installs what some parts need", flush=True)
    signal.signal(signal.SIGALRM, _late)
    failed = 0
    for name in names or parts:
        print(f"{name} ...", flush=True)
        try:
            report = _run(parts[name])
        except Missing as reason:
            print(f"  is left out: {reason}")
            continue
        failed += len(report.failed)
        print(f"  {len(report.checks)} checks, {len(report.failed)} failed, {report.seconds:.0f} s")
        _result(name).write_text(json.dumps(asdict(report)))
    if without := [name for name in parts if not _result(name).exists()]:
        print(f"docs/applications.md is left as it is: there is no result yet of {', '.join(without)}")
    else:
        page.write(Report(**json.loads(_result(name).read_text())) for name in parts)
    return 1 if failed else 0


def _run(part: Part) -> Report:
    for each in part.programs:
        program(each)
    environment = Environment(part.name, part.required())
    environment.prepare()
    versions = [f"{package} {environment.version(package)}" for package in part.title.split(", ")]
    report = Report(", ".join(versions), part.about)
    began = time.monotonic()
    signal.alarm(PART_S)
    try:
        part.run(Trial(environment, report))
    except Late:
        report.checks[f"it ends within {PART_S} s"] = "it was ended"
    except Missing:
        raise
    except Exception as error:  # what no check of its own has caught: the server did not begin
        report.checks["it is served"] = f"{type(error).__name__}: {str(error)[-400:]}"
    finally:
        signal.alarm(0)
    report.seconds = time.monotonic() - began
    return report


def _result(name: str) -> Path:
    return PLACE / name / "report.json"


def _late(_number: int, _frame: FrameType | None) -> None:
    raise Late


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
