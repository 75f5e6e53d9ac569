"""Runs all programs, or those that are named: python -m conformance [name ...].

The page is written if each has a result, be it of an earlier run: one without would be missing there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from conformance import autobahn, h2spec, litmus, page, redbot
from conformance.environments import PLACE
from conformance.findings import Findings, Missing

PARTS: dict[str, Callable[[], Findings]] = {
    "h2spec-tls": h2spec.run_tls,
    "h2spec": h2spec.run_plain,
    "autobahn": autobahn.run_plain,
    "autobahn-tls": autobahn.run_tls,
    "autobahn-sizes": autobahn.run_sizes,
    "autobahn-compression": autobahn.run_compression,
    "litmus": litmus.run_litmus,
    "redbot": redbot.run_redbot,
}


def main(names: list[str]) -> None:
    if unknown := set(names) - PARTS.keys():
        sys.exit(f"expected names of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    for name in names or PARTS:
        print(f"{name} ...", flush=True)
        try:
            found = PARTS[name]()
        except Missing as missing:
            print(f"{name} is left out: {missing}")
            continue
        for failed in found.failed:
            print(f"{name}: {failed}")
        (PLACE / f"{name}.found.json").write_text(json.dumps(asdict(found)))
    results = {name: PLACE / f"{name}.found.json" for name in PARTS}
    if without := [name for name, path in results.items() if not path.exists()]:
        print(f"docs/conformance.md is left as it is: there is no result yet of {', '.join(without)}")
    else:
        page.write(Findings(**json.loads(path.read_text())) for path in results.values())


if __name__ == "__main__":
    main(sys.argv[1:])
