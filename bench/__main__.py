"""Measures all parts, or those that are named: python -m bench [--quick] [part ...].

--against compares this checkout with another one instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import (
    compare,
    events,
    hello,
    http2,
    instructions,
    logs,
    membership,
    memory,
    mixed,
    operation,
    pool,
    report,
    static,
    tls,
    uploads,
    websocket,
)
from bench.findings import Effort, Figure, Findings, Setting
from bench.machine import choose_cores, describe, versions
from bench.needs import Missing, ensure_needs

Part = Callable[[Setting], Findings]
PARTS: dict[str, Part] = {
    "events": events.run,
    "wsgi": hello.run_wsgi,
    "asgi": hello.run_asgi,
    "websocket": websocket.run,
    "static": static.run,
    "uploads": uploads.run,
    "mixed": mixed.run,
    "logs": logs.run,
    "tls": tls.run,
    "http2": http2.run,
    "instructions": instructions.run,
    "membership": membership.run,
    "pool": pool.run,
    "operation": operation.run,
    "memory": memory.run,
}
WHOLE = Effort(
    rounds=11,
    run_s=1,
    mixed_rounds=3,
    mixed_s=5.0,
    starts=8,
    windows=60,
    pool_repeats=3,
    reloads=20,
    upgrades=5,
    load_s=30.0,
)
QUICK = Effort(
    rounds=1,
    run_s=1,
    mixed_rounds=1,
    mixed_s=2.0,
    starts=2,
    windows=30,
    pool_repeats=1,
    reloads=3,
    upgrades=1,
    load_s=3.0,
)


def log(*parts: str) -> None:
    print("bench", *parts, sep=": ", file=sys.stderr, flush=True)


def measure(parts: Mapping[str, Part], setting: Setting) -> dict[str, Findings]:
    """Runs these parts. The figure of a part that fails is missing, and the others go on."""
    found = {}
    for name, part in parts.items():
        began = time.monotonic()
        of_part = dataclasses.replace(setting, log=functools.partial(log, name))
        try:
            found[name] = part(of_part)
        except (RuntimeError, OSError) as error:
            of_part.log(f"failed: {error}")
            found[name] = Findings([Figure(name, None, "", note=" ".join(str(error).split()))])
        of_part.log(f"took {time.monotonic() - began:.0f} s")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short run for a first impression; no file is written"
    )
    parser.add_argument(
        "--against", metavar="CHECKOUT", help="another checkout, built for release; no file is written"
    )
    parser.add_argument("part", nargs="*", help=f"what to measure; all if none is named: {', '.join(PARTS)}")
    arguments = parser.parse_args()
    names = arguments.part or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]!r}; there are {', '.join(PARTS)}")
    parts: Mapping[str, Part] = {name: PARTS[name] for name in names}
    if arguments.against is not None:
        if arguments.part:
            parser.error("--against compares whole checkouts: name no part")
        parts = {"compare": functools.partial(compare.run, Path(arguments.against).resolve())}
    effort = QUICK if arguments.quick else WHOLE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server outlives the bench
    try:
        ensure_needs()
        cores = choose_cores()
    except Missing as error:
        log(str(error))
        return 1
    about = {"machine": describe(cores), "versions": versions(), "effort": dataclasses.asdict(effort)}
    found = measure(parts, Setting(effort, cores, log))
    print(report.show(found, about))
    is_preview = arguments.quick or arguments.against is not None
    for file in [] if is_preview else report.write(found, about):
        log(f"{file.relative_to(report.TOP)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
