"""httpbin over WSGI: with httpx, and with the tests of requests itself."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from applications.environments import CLIENTS
from applications.report import holds, same
from applications.site import Site
from applications.trial import Part, Trial

OUTSIDE = ("test_connection_error_invalid_domain", "test_connect_timeout", "test_total_timeout_connect")
"""Tests that connect to something outside of this machine."""


def _chunks() -> Iterator[bytes]:
    for number in range(300):
        yield f"{number:05}".encode() * 50


def _run(trial: Trial) -> None:
    with trial.serve("httpbin:app", "--workers", "2", "--threads", "8") as site:
        site.home = "/status/204"
        _requests(trial, site)
        _responses(trial, site)
        _suite(trial, site)


def _requests(trial: Trial, site: Site) -> None:
    with trial.check("what it was asked: query, fields, address"):
        found = site.client.get(
            "/get", params=[("a", "1"), ("a", "ü"), ("b", "")], headers={"X-Word": "x"}
        ).json()
        same(found["args"], {"a": ["1", "ü"], "b": ""})
        same((found["headers"]["X-Word"], found["origin"]), ("x", "127.0.0.1"))
        same(found["url"], f"{site.url}/get?a=1&a=ü&b=")
    with trial.check("a form, a JSON body, files"):
        same(site.client.post("/post", data={"a": "ö"}).json()["form"], {"a": "ö"})
        same(site.client.put("/put", json={"a": [1]}).json()["json"], {"a": [1]})
        found = site.client.post("/post", data={"c": "d"}, files={"f": ("n.txt", b"inside")}).json()
        same((found["form"], found["files"]), ({"c": "d"}, {"f": "inside"}))
    with trial.check("a chunked body"):
        found = site.client.post("/post", content=_chunks(), headers={"Content-Type": "text/plain"}).json()
        same(found["data"], b"".join(_chunks()).decode())
    with trial.check("every method of /anything"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            same(site.client.request(method, "/anything/x").json()["method"], method)
        same(site.client.head("/get").content, b"")
        holds(site.client.options("/get").headers["allow"], "GET")


def _responses(trial: Trial, site: Site) -> None:
    with trial.check("bodies in gzip and deflate"):
        with site.client.stream("GET", "/gzip") as response:
            holds(gzip.decompress(b"".join(response.iter_raw())), b'"gzipped": true')
        with site.client.stream("GET", "/deflate") as response:
            holds(zlib.decompress(b"".join(response.iter_raw())), b'"deflated": true')
    with trial.check("streams: lines, bytes, bytes that drip"):
        same(len(site.get("/stream/50").text.splitlines()), 50)
        same(
            site.get("/stream-bytes/100000?seed=7&chunk_size=977").content,
            site.get("/stream-bytes/100000?seed=7&chunk_size=10240").content,
        )
        same(site.get("/drip?numbytes=40&duration=1&delay=0").content, b"*" * 40)
    with trial.check("ranges of a file"):
        response = site.client.get("/range/1000", headers={"Range": "bytes=100-199"})
        same((response.status_code, response.headers["content-range"]), (206, "bytes 100-199/1000"))
        same(response.content, site.get("/range/1000").content[100:200])
    with trial.check("redirects, relative and absolute"):
        for page in ("relative-redirect", "absolute-redirect", "redirect"):
            response = site.client.get(f"/{page}/4", follow_redirects=True)
            same((str(response.url), len(response.history)), (f"{site.url}/get", 4))
    with trial.check("cookies, set and deleted"), site.new_client() as client:
        found = client.get("/cookies/set?a=1&b=2", follow_redirects=True).json()
        same(found["cookies"], {"a": "1", "b": "2"})
        same(client.get("/cookies/delete?a=", follow_redirects=True).json()["cookies"], {"b": "2"})
    with trial.check("basic, digest and bearer authentication"):
        site.get("/basic-auth/me/secret", status=401)
        same(site.client.get("/basic-auth/me/secret", auth=("me", "secret")).status_code, 200)
        with site.new_client() as client:  # the challenge is in a cookie
            digest = httpx.DigestAuth("me", "secret")
            same(client.get("/digest-auth/auth/me/secret", auth=digest).status_code, 200)
        same(site.client.get("/bearer", headers={"Authorization": "Bearer t"}).json()["token"], "t")
    with trial.check("every status from 200 to 599 that it knows, 204 and 304 without a body"):
        for status in (200, 201, 202, 204, 301, 304, 400, 401, 404, 406, 418, 429, 500, 503, 599):
            response = site.client.get(f"/status/{status}")
            same(response.status_code, status)
            if status in (204, 304):
                same((response.content, response.headers.get("content-length", "0")), (b"", "0"))
    with trial.check("etag and cache conditions"):
        same(site.client.get("/etag/tag", headers={"If-None-Match": "tag"}).status_code, 304)
        same(site.client.get("/etag/tag", headers={"If-Match": "other"}).status_code, 412)
        same(site.client.get("/cache", headers={"If-None-Match": "x"}).status_code, 304)
    with trial.check("16 slow responses at once take no longer than one"):
        took = site.at_once(
            lambda client, _: client.get("/delay/1").elapsed.total_seconds(), range(16), users=16
        )
        if max(took) > 2.5:
            raise AssertionError(f"the slowest took {max(took):.1f} s")


def _suite(trial: Trial, site: Site) -> None:
    version = trial.environment.version("requests")
    with trial.check(f"the tests of requests {version} that use httpbin"):
        sources = _sources(trial, version)
        said = trial.run(
            "python",
            "-m",
            "pytest",
            "-q",
            "-p",
            "served_httpbin",
            "-p",
            "no:pytest-httpbin",
            "-p",
            "no:cacheprovider",
            "-k",
            " and ".join(f"not {name}" for name in OUTSIDE),
            "tests/test_requests.py",
            cwd=sources,
            env={"SERVED_HTTPBIN": site.url, "PYTHONPATH": str(CLIENTS)},
        )
        summary = said.strip().splitlines()[-1]
        print(f"    requests: {summary}")
        passed = re.search(r"(\d+) passed", summary)
        if passed is None or int(passed[1]) < 200:
            raise AssertionError(f"expected some hundred tests to pass, found {summary}")


def _sources(trial: Trial, version: str) -> Path:
    """The source distribution of requests, which has its tests."""
    place = trial.place
    trial.run(
        "python",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        f"requests=={version}",
    )
    (archive,) = place.glob("requests-*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(place, filter="data")
    (tests,) = place.glob("requests-*/tests/test_requests.py")
    return tests.parents[1]


HTTPBIN = Part(
    "httpbin",
    "httpbin, requests",
    "WSGI in threads: its pages with httpx, and the tests of requests",
    _run,
    (
        "httpbin",
        "requests[socks]",
        "pytest",
        "pytest-mock",
        "pytest-httpbin",
        "trustme",
        "setuptools<81",
        "wheel",
    ),
)
