"""Autobahn's fuzzing client (WebSocket, RFC 6455 and RFC 7692), over plain and over TLS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from conformance.environments import APPS, PLACE, TLS, old_python_packages, run, serving
from conformance.findings import Findings

VERSION = "0.8.2"
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing handshake",
    "9": "sizes and time",
    "10": "misc",
    "12": "compression, sizes of messages",
    "13": "compression, parameters",
}
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")
"""NON-STRICT: it fails as RFC 6455 lets it, but late. INFORMATIONAL: there is no right way.

UNIMPLEMENTED: what the client offers was declined, as RFC 7692 lets a server do.
"""


RULES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")


def run_plain() -> Findings:
    return _run("plain", RULES)


def run_tls() -> Findings:
    return _run("TLS", RULES, "--tls-cert", str(TLS / "cert.pem"), "--tls-key", str(TLS / "key.pem"))


def run_sizes() -> Findings:
    return _run("plain, large messages", ("9.*",))


def run_compression() -> Findings:
    return _run("plain, permessage-deflate", ("12.*", "13.*"))


def _run(kind: str, cases: Sequence[str], *flags: str) -> Findings:
    name = kind.rpartition(" ")[2]
    python, site = old_python_packages(f"autobahntestsuite=={VERSION}")
    reports = PLACE / f"autobahn-{name}"
    with serving(str(APPS / "echo.py"), "--workers", "2", "--ws-max-message", "64m", *flags) as address:
        url = address.replace("http", "ws", 1)
        spec = {
            "outdir": str(reports),
            "servers": [{"agent": "prefork", "url": url}],
            "cases": list(cases),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        path = PLACE / f"autobahn-{name}.json"
        path.write_text(json.dumps(spec))
        program = (
            f"import site; site.addsitedir({str(site)!r})\nfrom autobahntestsuite.wstest import run; run()"
        )
        said = run(python, "-c", program, "-m", "fuzzingclient", "-s", str(path))
    if not (reports / "index.json").exists():
        raise RuntimeError(f"the fuzzing client said: {said[-2000:]}")
    return _read(kind, reports)


def _read(kind: str, reports: Path) -> Findings:
    found = Findings(f"Autobahn {VERSION}", f"an ASGI application that echoes, {kind}")
    cases: dict[str, dict[str, str]] = json.loads((reports / "index.json").read_text())["prefork"]
    counts: dict[str, Counter[str]] = {}
    for case, result in cases.items():
        group = counts.setdefault(case.partition(".")[0], Counter())
        group[result["behavior"]] += 1
        if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD:
            found.failed.append(f"{case}: {result['behavior']}, close {result['behaviorClose']}")
    for group in sorted(counts, key=int):
        name = f"{group} {GROUPS.get(group, '')}".strip()
        found.results[name] = ", ".join(f"{count} {word}" for word, count in counts[group].most_common())
    return found
