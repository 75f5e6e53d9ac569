"""WsgiDAV: files over WebDAV in several threads, with Debian's litmus, which logs in by digest."""

from __future__ import annotations

import hashlib
import re
import subprocess

import httpx

from applications.conversations import content
from applications.environments import program
from applications.report import holds, same
from applications.site import Site
from applications.trial import Part, Trial

GROUP = re.compile(r"<- summary for `(\w+)': of (\d+) tests run: (\d+) passed, (\d+) failed")


def _run(trial: Trial) -> None:
    litmus = program("litmus")
    shared = trial.place / "shared"
    shared.mkdir()
    # One worker: WsgiDAV has its locks in its own memory.
    flags = ("--workers", "1", "--threads", "8", "--interface", "wsgi")
    with trial.serve("dav.py", *flags, env={"SHARED": str(shared)}) as site:
        site.home = "/up.bin"
        site.client.auth = ("anna", "secret")
        (shared / "up.bin").write_bytes(b"")
        _files(trial, site)
        done = subprocess.run(
            [litmus, "--keep-going", f"{site.url}/", "anna", "secret"],
            cwd=trial.place,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        groups = GROUP.findall(done.stdout)
        with trial.check("litmus has run its five groups"):
            same([group for group, *_ in groups], ["basic", "copymove", "props", "locks", "http"])
        for group, cases, passed, _ in groups:
            with trial.check(f"litmus: {group}, {cases} cases"):
                same(int(passed), int(cases))


def _files(trial: Trial, site: Site) -> None:
    sent = content()
    digest = httpx.DigestAuth("anna", "secret")
    with trial.check("401 without a password"), site.new_client() as client:
        same(client.get("/up.bin").status_code, 401)
    with trial.check("a file of 3 MB goes up, by basic and by digest authentication"):
        for auth in (("anna", "secret"), digest):
            holds((201, 204), site.client.put("/up.bin", content=sent, auth=auth).status_code)
            same(hashlib.sha256(site.get("/up.bin").content).digest(), hashlib.sha256(sent).digest())
    with trial.check("a part of it"):
        response = site.client.get("/up.bin", headers={"Range": "bytes=1000000-1000999"})
        same((response.status_code, response.content), (206, sent[1_000_000:1_001_000]))
    with trial.check("a page for browsers"):
        holds(site.client.get("/", headers={"Accept": "text/html"}).text, "up.bin")


WSGIDAV = Part("wsgidav", "wsgidav", "WSGI in threads: files over WebDAV, litmus", _run, programs=("litmus",))
