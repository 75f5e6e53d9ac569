"""h2spec (HTTP/2, RFC 9113 and RFC 7541), over TLS and over plain connections."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from conformance.environments import PLACE, TLS, run, serving
from conformance.findings import Findings, Missing

VERSION = "2.2.1"
INSTALL = f"go install github.com/summerwind/h2spec/cmd/h2spec@v{VERSION}+incompatible"
TARGET = "examples/wsgi.py"
GROUPS = {"generic": "what a server of HTTP/2 does", "http2": "RFC 9113", "hpack": "RFC 7541"}
EXPLAINED = {
    "Sends invalid connection preface": "this port serves HTTP/1.1 as well, so what is no preface is a "
    "malformed request of HTTP/1.1: it gets a response of HTTP/1.1, and the connection is closed"
}


def run_tls() -> Findings:
    return _run(
        "TLS", "-t", "-k", flags=("--tls-cert", str(TLS / "cert.pem"), "--tls-key", str(TLS / "key.pem"))
    )


def run_plain() -> Findings:
    return _run("plain (--h2c)", flags=("--h2c",))


def _run(kind: str, *options: str, flags: tuple[str, ...]) -> Findings:
    places = os.pathsep.join([os.environ.get("PATH", ""), str(Path.home() / "go" / "bin")])
    program = shutil.which("h2spec", path=places)
    if program is None:
        raise Missing(f"it needs Go, and h2spec: {INSTALL}")
    report = PLACE / "h2spec.xml"
    report.unlink(missing_ok=True)
    with serving(TARGET, "--workers", "1", *flags) as address:
        port = address.rpartition(":")[2]
        said = run(program, "-h", "127.0.0.1", "-p", port, "-o", "10", "-j", str(report), *options)
    if not report.exists():
        raise RuntimeError(f"h2spec said: {said[-2000:]}")
    return _read(kind, report)


def _read(kind: str, report: Path) -> Findings:
    found = Findings(f"h2spec {VERSION}", f"a WSGI application, {kind}")
    passed: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        section = case.get("package", "")
        group = re.split(r"[/.]", section)[0]
        cases[group] += 1
        if case.find("failure") is None and case.find("error") is None and case.find("skipped") is None:
            passed[group] += 1
        else:
            title = case.get("classname", "")
            reason = f" ({EXPLAINED[title]})" if title in EXPLAINED else ""
            found.failed.append(f"{section}: {title}{reason}")
    for group, count in cases.items():
        name = f"{group}: {GROUPS.get(group, '')}".removesuffix(": ")
        found.results[name] = f"{passed[group]} of {count} passed"
    return found
