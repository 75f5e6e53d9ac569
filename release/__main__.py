"""`python -m release`: a source distribution and the wheels of all platforms, checked and tried, in dist/."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from release import build, check, trial
from release.interpreters import Interpreter, interpreters
from release.platforms import PLATFORMS, Platform
from release.tree import ROOT, make_tree

DIST = ROOT / "dist"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument(
        "--platform", action="append", choices=list(PLATFORMS), help="build wheels for this one; default: all"
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="FILE",
        help="build wheels for this one; default: each that is found",
    )
    parser.add_argument(
        "--quick", action="store_true", help="optimise as little as a test of packaging needs"
    )
    given = parser.parse_args(arguments)
    chosen = interpreters(given.python)
    if not chosen:
        sys.exit("make wheels: expected a CPython from 3.11 to 3.14 on PATH or in pyenv, found none")
    print("make wheels: for CPython", *(each.version for each in chosen), flush=True)
    shutil.rmtree(DIST, ignore_errors=True)
    committed = make_tree()
    source = build.source_distribution(committed, DIST)
    check.source_distribution(source, committed)
    tree = build.unpack(source)
    wheels = [
        wheel
        for name in given.platform or PLATFORMS
        if can_be_built(PLATFORMS[name])
        for wheel in build.wheels(tree, DIST, PLATFORMS[name], chosen, quick=given.quick)
    ]
    check.descriptions([source, *wheels])
    for wheel in wheels:
        print(f"make wheels: {check.wheel(wheel)}", flush=True)
    try_those_of_this_machine(wheels, chosen)


def can_be_built(platform: Platform) -> bool:
    """Says so if it cannot: a machine may have no way to get what other platforms need."""
    if (missing := platform.missing()) is None:
        return True
    print(f"make wheels: no wheels for {platform.name}: {missing}", flush=True)
    return False


def try_those_of_this_machine(wheels: list[Path], chosen: list[Interpreter]) -> None:
    for wheel in wheels:
        for interpreter in chosen:
            if trial.fits(wheel, interpreter):
                took_s, used_s = trial.serve(wheel, interpreter)
                print(
                    f"make wheels: {wheel.name} serves {took_s:.0f} s after the folder was empty, "
                    f"{used_s:.0f} s of them CPU time"
                )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (build.Unbuilt, check.Unfit, trial.Failed) as error:
        sys.exit(f"make wheels: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"make wheels: exit status {error.returncode} of {' '.join(map(str, error.cmd))}")
